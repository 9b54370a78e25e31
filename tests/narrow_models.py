"""A small model of each algorithm, with batches, variables and workdirs for it."""

import functools
from collections.abc import Callable, Container, Iterable
from typing import Any

import cv2
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from small import QUICKLY, ROOT

from recog import models
from recog.config import experiments, recipe
from recog.config.values import SEVERAL
from recog.images.fit import channels
from recog.models.parts import rectification
from recog.text.vocabulary import Vocab
from recog.workdir import description
from recog.workdir.checkpoints import Checkpoints

# The fields of config.image that a model depends on.
SEEN = ('height', 'width', 'channels', 'fit', 'resample', 'scale', 'mean', 'std')


def recipes() -> dict[str, ConfigDict]:
    """The first recipe of each algorithm, made narrow as its experiment says."""
    found = {}
    for file in experiments.files(ROOT):
        narrow = experiments.declared(file).narrow
        found[file.stem] = recipe.changed(experiments.experiment_module(str(file)).get_config(), narrow)
    return found


RECIPES = recipes()
# A small model of each algorithm: its own fields, and those of the image.
NARROW: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    name: ({field: value for field, value in config.model.items() if field != 'name'},
           {field: config.image[field] for field in SEEN})
    for name, config in RECIPES.items()
}
VOCAB = Vocab(tuple('012345'))
KEY = 5
# Gain and seed of `weighted`: with larger weights, attention would make much of rounding errors.
LIVELY = {'rare': (1.5, 4), 'svtrv2': (1.5, 1), 'comer': (1.5, 1)}
MATHS = tuple(name for name, config in RECIPES.items() if config.eval.protocol == 'latex')


@functools.cache
def narrow(name: str, vocab: Vocab = VOCAB, **training: Any) -> models.Model:
    own, image = NARROW[name]
    config = recipe.base(name=name, **own)
    config.image.update(image)
    config.train.update(training)
    return models.build(config, vocab)


def make_batch(name: str, rows: int, seed: int = 0) -> dict[str, Any]:
    """Noise with short labels; the last row's image is the narrowest."""
    rng = np.random.default_rng(seed)
    image = recipe.base().image
    image.update(NARROW[name][1])
    width = image.width - image.width // 4 * (np.arange(rows) == rows - 1)
    length = rng.integers(1, 4, rows)
    tokens = np.where(np.arange(5) < length[:, None], rng.integers(0, len(VOCAB), (rows, 5)), -1)
    return {
        'image': rng.integers(0, 256, (rows, image.height, image.width, channels(image))).astype(np.uint8),
        'size': np.stack([np.full(rows, image.height), width], 1).astype(np.int32),
        'tokens': tokens.astype(np.int32),
        'length': length.astype(np.int32),
        'weight': np.ones(rows, np.float32),
        'index': np.arange(rows, dtype=np.int32),
    }


def random_variables(model: models.Model, seed: int = 1) -> models.Variables:
    """Random parameters and statistics: initial ones hide what is multiplied by 0."""
    rng, leaves = np.random.default_rng(seed), {}
    for path, leaf in models.flatten(jax.eval_shape(model.init, jax.random.key(0))).items():
        noise = rng.normal(size=leaf.shape)
        if path[-2] == 'points':
            value = _points(path[-1], noise)
        elif path[-1] == 'variance':
            value = 1 + 0.1 * np.abs(noise)
        elif len(leaf.shape) > 1:
            value = noise * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        else:
            value = (path[-1] == 'scale') + 0.1 * noise
        leaves[path] = np.asarray(value, np.float32)
    return models.variables(leaves)


def learn(model: models.Model, variables: models.Variables, batch: dict[str, Any], key: int | None = KEY,
          quickly: bool = False) -> Any:
    """Total, count, statistics, metrics and gradients of the total; without a key there is no dropout."""
    return jax.device_get(learner(model.loss, quickly)(variables, batch,
                                                       None if key is None else jax.random.key(key)))


@functools.cache
def learner(loss: Callable[..., Any], quickly: bool) -> Callable[..., Any]:
    """What `learn` runs, compiled once for a model and a shape."""

    @functools.partial(jax.jit, compiler_options=QUICKLY if quickly else None)
    def run(variables, batch, key):
        def total(params):
            (total, count), rest = loss({'params': params, 'stats': variables['stats']}, batch, key=key)
            return total, (count, *rest)

        result, gradients = jax.value_and_grad(total, has_aux=True)(variables['params'])
        value, (count, stats, metrics) = result
        return {'total': value, 'count': count, 'stats': stats, 'metrics': metrics, 'gradients': gradients}

    return run


def close(got: Any, want: Any, tolerance: float = 1e-4) -> None:
    """Every leaf equal, measured by the leaf's largest value."""
    wanted = models.flatten({'': want})
    for path, leaf in models.flatten({'': got}).items():
        scale = max(float(np.abs(np.asarray(wanted[path])).max()), 1e-3)
        np.testing.assert_allclose(leaf, wanted[path], rtol=0, atol=tolerance * scale, err_msg='/'.join(path))


def weighted(model: models.Model, gain: float = 2.5, seed: int = 1) -> models.Variables:
    """Variables that give texts which are neither empty nor all the same."""
    random = np.random.default_rng(seed)

    def leaf(path: Any, aval: Any) -> np.ndarray:
        name, values = path[-1].key, random.normal(size=aval.shape).astype(np.float32)
        if name in ('scale', 'variance'):
            return 1 + 0.3 * abs(values)
        if path[-2].key == 'points':
            return np.float32(_points(name, values))
        return np.float32(gain * values * (0.2 if aval.ndim < 2 else np.prod(aval.shape[:-1]) ** -0.5))

    return jax.tree_util.tree_map_with_path(leaf, jax.eval_shape(model.init, jax.random.key(0)))


def _points(name: str, noise: np.ndarray) -> np.ndarray:
    """Weights of the layer that predicts the points of a thin-plate spline, which through arbitrary ones
    amplifies rounding errors."""
    return rectification.targets(noise.size // 2).ravel() if name == 'bias' else 0.02 * noise


def slowly(names: Iterable[str], slow: Container[str]) -> list[Any]:
    """Names as the parameters of a test, which is a slow one for some."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in names]


def make_workdir(folder, name, **training):
    """A workdir of a narrow model with random weights, and four images to read."""
    config = recipe.base(name=name, **NARROW[name][0])
    config.image.update(NARROW[name][1])
    config.text.max_length = 12
    config.train.update(training)
    vocab = Vocab(tuple('012345'))
    if name in MATHS:
        vocab = Vocab(('x', '^', '{', '}', '1', '+'), 'keep', 'drop', ' ')
        config.eval.protocol, config.image.ink, config.text.separator = 'latex', 'light', ' '
    if config.image.fit in SEVERAL:
        config.data.buckets = RECIPES[name].data.buckets
    description.write(folder, config, vocab)
    variables = weighted(models.build(config, vocab), *LIVELY.get(name, (2.5, 1)))
    saved = Checkpoints(folder)
    saved.save(7, {'variables': variables}, description.record(config, vocab, 0, {}, {}), {})
    saved.close()
    (folder / 'samples').mkdir()
    for number, (height, width) in enumerate([(16, 30), (32, 44), (20, 48), (31, 17)]):
        down, right = np.mgrid[:height, :width] * (0.2 + 0.1 * number)
        cv2.imwrite(str(folder / 'samples' / f'{number}.png'),
                    (127 + 120 * np.sin(down + right * number)).astype(np.uint8))
    return folder
