"""Measures what a model reads of corrupted images."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from recog.data.corrupted import Corrupted, check_corruptible
from recog.data.rows import Source
from recog.evaluation import measure
from recog.evaluation.robustness import Record, add
from recog.evaluation.sets import provenance_of, sources_of
from recog.images.corrupt import SEVERITIES
from recog.reading.adapt import adapted_source
from recog.reading.compiled import searching
from recog.workdir.opened import Opened

SEED = 0


def check(config: ConfigDict, root: str) -> None:
    """Refuse a recipe of which a set to report cannot be corrupted."""
    for source in sources_of(config, root)[0]:
        check_corruptible(source)


def measure_sets(opened: Opened, config: ConfigDict, mesh: Mesh, root: str, names: Sequence[str], limit: int,
                 folder: Any, adapt: bool = False) -> tuple[list[Record], list[str]]:
    """Measure the sets of eval.report under these corruptions and keep the records in the folder; also the
    sets that are missing."""
    sources, missing = sources_of(config, root)
    records = measured(opened, config, mesh, sources, names, limit, adapt)
    if jax.process_index() == 0:
        add(folder, records)
    return records, missing


def measured(opened: Opened, config: ConfigDict, mesh: Mesh, sources: Sequence[Source], names: Sequence[str],
             limit: int, adapt: bool = False) -> list[Record]:
    """A record for each set: of how many images how many are right as they are, and at each severity of each
    corruption. `adapt`: what is corrupted is adapted as prediction does it."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.data.workers = 0  # the images are in memory
    decode, lexicon = searching(opened, mesh, config.eval.beam)
    about = provenance_of(opened, config, mesh, adapt)
    records = []
    for source in sources:
        held = Corrupted(source, limit, SEED)

        read = adapted_source(held, config.image) if adapt else held

        def right(read: Source = read) -> dict[str, float]:
            return measure.measure_set(decode, opened.variables, read, opened.vocab, config, mesh,
                                       lexicon=lexicon).figures
        clean = right()
        found: dict[str, list[int]] = {}
        steps = [(name, severity) for name in names for severity in SEVERITIES]
        for name, severity in tqdm(steps, desc=source.name, unit='reading', leave=False,
                                   disable=None if jax.process_index() == 0 else True):
            held.by(name, severity)
            found.setdefault(name, []).append(int(right()['right']))
        records.append({'set': source.name, 'count': int(clean['count']), 'clean': int(clean['right']),
                        'corruptions': found, 'corruption seed': SEED, **about})
    return records
