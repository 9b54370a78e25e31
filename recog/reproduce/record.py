"""The record of a reproduced row: everything that somebody needs who wants the same number, as JSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import __version__
from recog.config import values
from recog.config.test_sets import expanded
from recog.devices import cost
from recog.evaluation.results import Result, interval
from recog.reproduce.rows import Row
from recog.workdir import files, provenance
from recog.workdir.opened import Opened

FOLDER = Path('experiments', 'results', 'trained')  # where the records of a checkout are kept
POINTS = 100  # of the curve of the loss


def document(row: Row, overrides: Sequence[str], opened: Opened, config: ConfigDict, mesh: Mesh,
             data: dict[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    """The record of a finished run: recipe, data, machine, log, and what each set gave."""
    log = files.read_log(opened.workdir)
    measured = {result.name: {**result.figures, 'interval': interval(result.figures)} for result in results}
    report = expanded(config.eval.report)
    steps = [line for line in log if 'loss' in line]
    return {
        'name': row.name, 'recipe': row.recipe, 'overrides': list(overrides), 'seed': config.seed,
        'published': row.reported.published, 'config': values.flat(config),
        'commit': provenance.commit(), 'versions': f'recog {__version__}, jax {jax.__version__}',
        'device': f'{mesh.size} x {mesh.devices.flat[0].device_kind}', 'processor': provenance.host(),
        'cpus': len(os.sched_getaffinity(0)), 'parameters': cost.parameters(opened.variables['params']),
        'data': data, 'checkpoint': {'step': opened.step, 'chosen by': chosen_by(config)},
        'steps': steps[-1]['step'], 'images': steps[-1]['images'], 'hours': steps[-1]['seconds'] / 3600,
        'protocol': config.eval.protocol, 'beam': config.eval.beam, 'sets': measured,
        'missing': [name for name in report if name not in measured],
        'loss': [[line['step'], line['loss']] for line in steps[::-(-len(steps) // POINTS) or 1]],
        'evaluations': [line for line in log if 'loss' not in line],
    }


def chosen_by(config: ConfigDict) -> str:
    """What chose the checkpoint that was measured."""
    return ', '.join(config.eval.sets) if config.checkpoint.keep else 'the end of the training'


def write(record: dict[str, Any], folder: Path) -> Path:
    """Write a record to NAME.json, that of another seed than 0 to NAME.seedN.json."""
    seed = f'.seed{record["seed"]}' if record['seed'] else ''
    file = folder / f'{record["name"]}{seed}.json'
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
    return file


def read(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of a folder by the name of their row, a seed each."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob('*.json')):
        record = json.loads(file.read_text(encoding='utf-8'))
        found.setdefault(record['name'], []).append(record)
    return {name: sorted(records, key=lambda record: record['seed']) for name, records in found.items()}
