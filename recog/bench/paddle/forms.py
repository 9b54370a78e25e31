"""The forms in which a rival reads images: eagerly, and through Paddle's inference engine with oneDNN."""

import copy
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import paddle
from ml_collections import ConfigDict

from recog.bench.paddle import equality
from recog.bench.paddle.texts import Found, read
from recog.bench.rivals import texts
from recog.bench.rivals.texts import Call

EAGER, ENGINE = 'Paddle', "Paddle's engine, oneDNN"
NAMES = EAGER, ENGINE

Given = tuple[paddle.Tensor, ...]


class Reader(paddle.nn.Layer):
    """A rival as a layer that finds the tokens of images."""

    def __init__(self, network: paddle.nn.Layer, most: int):
        super().__init__()
        self.network, self.most = network, most

    def forward(self, image: paddle.Tensor) -> Found:
        found: Found = self.network.found(image, self.most)
        return found


def forms(rival: paddle.nn.Layer, batch: Mapping[str, np.ndarray],
          config: ConfigDict) -> tuple[dict[str, Call], dict[str, str]]:
    """The calls that read a batch by their form, and why a form is missing, in a line."""
    reader, given = Reader(copy.deepcopy(rival), config.text.max_length), equality.given(batch, config)
    reader.eval()
    eager = partial(read, reader, given, reader.most)
    calls, missing = texts.forms(
        {ENGINE: lambda: partial(read, engine(reader, given), given, reader.most)}, eager())
    return {EAGER: eager, **calls}, missing


def engine(reader: Reader, given: Given) -> Callable[..., Found]:
    """What Paddle's engine makes of the reader for images of this batch."""
    shapes = [paddle.static.InputSpec(each.shape, each.dtype) for each in given]
    static = paddle.jit.to_static(_unrolled(reader, given), input_spec=shapes, full_graph=True)
    with tempfile.TemporaryDirectory() as folder:
        paddle.jit.save(static, f'{folder}/reader')
        config = paddle.inference.Config(f'{folder}/reader.json', f'{folder}/reader.pdiparams')
        config.disable_gpu()
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(len(os.sched_getaffinity(0)))
        config.disable_glog_info()
        predictor = paddle.inference.create_predictor(config)

    def run(*given: paddle.Tensor) -> Found:
        tokens, probability, kept = predictor.run(list(given))
        return tokens, probability, kept

    return run


def _unrolled(reader: Reader, given: Given) -> Reader:
    """A copy whose loop of decoding, if it has one, has as many steps as the texts of this batch take."""
    reader = copy.deepcopy(reader)
    if hasattr(reader.network, 'steps'):
        with paddle.no_grad():
            reader.network.steps = reader(*given)[0].shape[1]
    return reader
