"""Finds on validation how much the words of a list are to count among the texts that a model finds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from recog import __version__
from recog.data.rows import Source
from recog.errors import ConfigError
from recog.evaluation import markdown
from recog.metrics.words import judge, protocol_id
from recog.reading.compiled import Compiled, decoder
from recog.reading.read import read_source
from recog.text.lexicon import Lexicon
from recog.workdir.opened import Opened

TRIED = tuple(step / 2 for step in range(17))  # what a word on the list may gain: 0 to 8


class Image(NamedTuple):
    """The texts of an image: log-probability, whether it is on the list, and whether it is right."""

    scores: np.ndarray
    listed: np.ndarray
    right: np.ndarray


def fitted(opened: Opened, sources: Sequence[Source], config: ConfigDict, mesh: Mesh,
           words: frozenset[str]) -> tuple[Lexicon, dict[str, Any]]:
    """The lexicon of these words that reads the sets best, and a record of how it was found.

    Of several that read as much, it is the one that changes least.
    """
    lexicon, protocol = Lexicon(words, 0.0, config.eval.beam), protocol_id(config.eval.protocol,
                                                                          config.eval.nfkd)
    images = [image for source in sources for image in _read(opened, source, config, mesh, lexicon, protocol)]
    if not images:
        raise ConfigError(f'{", ".join(source.name for source in sources)}: no image can be read')
    right = {prefer: sum(bool(image.right[np.argmax(image.scores + prefer * image.listed)])
                         for image in images) for prefer in TRIED}
    best = max(TRIED, key=lambda prefer: (right[prefer], -prefer))
    if not best:
        raise ConfigError(f'the list does not help in {", ".join(source.name for source in sources)}: '
                          f'without it {right[0.0]:,} of {len(images):,} are right, with it at most as many')
    return lexicon._replace(prefer=best), {
        'sets': [source.name for source in sources], 'step': opened.step, 'protocol': protocol,
        'count': len(images), 'right': {str(prefer): count for prefer, count in right.items()},
        'recog': __version__}


def _read(opened: Opened, source: Source, config: ConfigDict, mesh: Mesh, lexicon: Lexicon,
          protocol: str) -> list[Image]:
    engine = Compiled(decoder(opened.model, mesh, lexicon.beam, best=lexicon.beam), opened.variables, mesh)
    readings = list(tqdm(read_source(engine, source, opened.vocab, config, batch=config.eval.batch),
                         desc=source.name, total=len(source), unit='image', leave=False,
                         disable=None if jax.process_index() == 0 else True))
    truths = [truth for _, truth in source.labels([reading.row for reading in readings])]
    return [Image(np.array([other.score for other in reading.others]),
                  np.array([lexicon.has(other.text) for other in reading.others]),
                  np.array([judge(truth, other.text, protocol)[0] for other in reading.others]))
            for reading, truth in zip(readings, truths, strict=True)
            if reading.text is not None and reading.others]


def described(lexicon: Lexicon, record: Mapping[str, Any]) -> str:
    """What was found, in Markdown."""
    count, right = record['count'], record['right']
    rows = [[f'{float(prefer):g}', f'{found:,}', f'{found / count:.2%}'] for prefer, found in right.items()]
    return '\n\n'.join([
        f'{len(lexicon.words):,} words of {", ".join(record["lists"])}. A word on the list gains '
        f'{lexicon.prefer:g} in log-probability, by {count:,} images of {", ".join(record["sets"])} '
        f'(protocol {record["protocol"]}, beam {lexicon.beam}).',
        markdown.table(['gain', 'right', 'of all'], rows)])
