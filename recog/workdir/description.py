"""What a workdir says of its run: config.json, vocab.json, and the record in every checkpoint."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from recog import models
from recog.config import recipe, values
from recog.errors import ConfigError
from recog.text.vocabulary import Vocab
from recog.workdir.files import CONFIG, VOCAB, is_workdir
from recog.workdir.folder import write_whole

# Fields that make a workdir what it is: a run that differs in one of them is another experiment.
FIXED = ('model', 'text', 'image', 'optimizer.name')
# Fields that say how a run is carried out, saved and reported; others change what comes of it.
FREE = (*values.CARRIED_OUT, 'data.resident', 'data.most_dropped', 'checkpoint.', 'eval.report', 'eval.every',
        'eval.batch', 'eval.beam', 'eval.precision', 'eval.allow_test')
# What accuracies must share to be compared.
MEASURE = ('eval.sets', 'eval.limit', 'eval.protocol', 'eval.nfkd')


def record(config: ConfigDict, vocab: Vocab, position: int, rows: dict[str, int],
           sets: dict[str, int], plan: int = 1, fingerprints: Mapping[str, str] = {}) -> dict[str, Any]:
    """What a step says of its run; `rows` counts examples by what became of them, `sets` has sizes.

    `plan` is the version of how rows became batches; records before the second do not have it, nor have they
    the `fingerprints` of the sets.
    """
    return {'position': position, 'config': recipe.to_json(config), 'vocab': vocab.to_json(),
            'vocab_hash': vocab.hash, 'rows': rows, 'cpus': len(os.sched_getaffinity(0)), 'sets': sets,
            'plan': plan, 'fingerprints': dict(fingerprints)}


def write(workdir: Path, config: ConfigDict, vocab: Vocab) -> None:
    """config.json and vocab.json beside the checkpoints, for people and for the next start."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_whole(workdir / CONFIG, recipe.to_json(config) + '\n')
    write_whole(workdir / VOCAB, vocab.to_json() + '\n')


def measure(config: ConfigDict) -> str:
    """What measures the checkpoints of a run: a digest, equal where accuracies may be compared."""
    fields = values.flat(config)
    return values.digest({name: fields[name] for name in MEASURE})


def compare(workdir: Path, config: ConfigDict, vocab: Vocab, change: bool = False) -> list[str]:
    """What differs from the workdir's config, a line each.

    Another experiment is refused; unless `change` allows it, so is whatever changes what comes of the run.
    """
    old, new = values.flat(read_config(workdir)), values.flat(config)
    changes = [f'config.{name}: {old.get(name)!r} -> {new.get(name)!r}'
               for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    for line in changes:
        if line.removeprefix('config.').startswith(FIXED):
            raise ConfigError(f'--workdir {workdir} holds another experiment: {line}; '
                              'choose another workdir')
    if read_vocab(workdir).hash != vocab.hash:
        raise ConfigError(f'--workdir {workdir} holds another experiment: its vocabulary differs from that '
                          f'of config.text.charset={config.text.charset!r}; choose another workdir')
    guarded = [line for line in changes if not line.removeprefix('config.').startswith(FREE)]
    if guarded and not change:
        raise ConfigError(f'--workdir {workdir} holds a run of another recipe: {"; ".join(guarded)}. '
                          '--change goes on with these; a new run from its weights: '
                          f'--workdir NEW --config.init={workdir}')
    return changes


def read_config(workdir: Path) -> ConfigDict:
    """The config of a workdir."""
    if not is_workdir(workdir):
        raise ConfigError(f'{workdir} is not a workdir of recog: it has no config.json'
                          if workdir.exists() else f'workdir {workdir} does not exist')
    try:
        return parse_config((workdir / CONFIG).read_text(encoding='utf-8'))
    except ValueError as error:
        return parse_config(_of_checkpoint(workdir, CONFIG, 'config', error))


def parse_config(text: str) -> ConfigDict:
    """The config that a run wrote as JSON; fields that are newer have the values that change nothing."""
    return models.completed(recipe.from_json(text))


def read_vocab(workdir: Path) -> Vocab:
    """The vocabulary of a workdir."""
    try:
        return Vocab.load(workdir / VOCAB)
    except ValueError as error:
        return Vocab.from_json(_of_checkpoint(workdir, VOCAB, 'vocab', error))


def _of_checkpoint(workdir: Path, name: str, part: str, error: ValueError) -> str:
    """What the newest sound checkpoint holds instead of a damaged file, which is said."""
    damaged = f'{workdir / name} is damaged ({" ".join(str(error).split())[:120]})'
    for step in sorted((step for step in (workdir / 'checkpoints').glob('*') if step.name.isdigit()),
                       key=lambda step: -int(step.name)):
        for file in (step / 'run').glob('*'):
            try:
                record = json.loads(file.read_text(encoding='utf-8'))
                found = {key: value for key, value in record.items() if key != 'digest'}
                if values.digest(found) == record['digest']:
                    print(f'recog: {damaged}; that of checkpoint {step.name} is used', file=sys.stderr)
                    return record[part]
            except (OSError, ValueError, LookupError, AttributeError):
                continue
    raise ConfigError(f'{damaged}, and no checkpoint holds another')
