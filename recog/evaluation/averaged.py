"""The weighted mean of a model's weights and of those it started from, by what reads validation best.

Wortsman and others 2021, Robust fine-tuning of zero-shot models: what was learnt anew is mostly kept, and
less of what was known is lost.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import __version__, models
from recog.data.rows import Source
from recog.errors import ConfigError
from recog.evaluation import markdown
from recog.metrics.words import judge, protocol_id
from recog.reading.compiled import Compiled, decoder
from recog.reading.read import read_source
from recog.workdir.opened import Opened

SHARES = tuple(number / 8 for number in range(9))  # of the model itself


def fitted(opened: Opened, start: Opened, sources: Sequence[Source], config: ConfigDict,
           mesh: Mesh) -> tuple[models.Variables, dict[str, Any]]:
    """The mean that reads the sets best, of several the one nearest to the model, and a record of how it was
    found."""
    shapes = [jax.tree.map(lambda leaf: leaf.shape, each.variables) for each in (opened, start)]
    if shapes[0] != shapes[1] or opened.vocab.hash != start.vocab.hash:
        raise ConfigError(f'{opened.workdir} and {start.workdir} are not of one network and vocabulary')
    decode, protocol = decoder(opened.model, mesh, config.eval.beam), protocol_id(config.eval.protocol,
                                                                                  config.eval.nfkd)
    right, count = {}, 0
    for share in SHARES:
        engine = Compiled(decode, mean(start.variables, opened.variables, share), mesh)
        found = [is_right for source in sources
                 for is_right in _right(engine, source, opened, config, protocol)]
        right[share], count = sum(found), len(found)
    if not count:
        raise ConfigError(f'{", ".join(source.name for source in sources)}: no image can be read')
    best = max(SHARES, key=lambda share: (right[share], share))
    return mean(start.variables, opened.variables, best), {
        'share': best, 'with': str(opened.config.init), 'sets': [source.name for source in sources],
        'step': opened.step, 'protocol': protocol, 'beam': config.eval.beam, 'count': count,
        'right': {str(share): number for share, number in right.items()}, 'recog': __version__}


def mean(start: models.Variables, after: models.Variables, share: float) -> models.Variables:
    """Weights and statistics, of which `share` are those after and the rest those at the start."""
    return jax.tree.map(lambda old, new: (1 - share) * old + share * new, start, after)


def _right(engine: Compiled, source: Source, opened: Opened, config: ConfigDict, protocol: str) -> list[bool]:
    readings = [reading for reading in read_source(engine, source, opened.vocab, config,
                                                   batch=config.eval.batch) if reading.text is not None]
    truths = source.labels([reading.row for reading in readings])
    return [judge(truth, str(reading.text), protocol)[0]
            for (_, truth), reading in zip(truths, readings, strict=True)]


def described(record: Mapping[str, Any]) -> str:
    """What was found, in Markdown."""
    count = record['count']
    rows = [[share, f'{found:,}', f'{found / count:.2%}'] for share, found in record['right'].items()]
    return '\n\n'.join([
        f'Share of the trained weights: {record["share"]:g}; the rest are those of {record["with"]}, from '
        f'which the training started. Chosen by {count:,} images of {", ".join(record["sets"])} '
        f'(protocol {record["protocol"]}, beam {record["beam"]}).',
        markdown.table(['share', 'right', 'of all'], rows)])
