"""Published weights into a workdir that evaluate, predict and all others open as if recog had trained it."""

import functools
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.config import experiments, values
from recog.devices import cost
from recog.errors import ConfigError
from recog.models.peers import listed, matched
from recog.text import vocabulary
from recog.weights.files import read_weights
from recog.workdir import description
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.folder import refuse_other_things

LIKE = 0.4  # the share of its names that a file must have in common with a recipe to be taken for it
SHOWN = 8  # names of a kind that are listed; all of them with --partial


class Recognised(NamedTuple):
    """A recipe whose model has a file's arrays."""

    recipe: str
    config: ConfigDict
    vocab: vocabulary.Vocab
    model: models.Model


def run(file: str, recipe: str, overrides: list[str], workdir: Path, partial: bool) -> int:
    """Write the workdir of a checkpoint of another framework; without a recipe, its names tell which."""
    refuse_other_things(workdir, resumes=False)
    state = read_weights(file)
    found = _built(recipe, tuple(overrides)) if recipe else recognise(state, file, overrides)
    variables = _variables(found, state, file, partial)
    if _untrained(variables['stats']):
        print(f'recog import: warning: {file}: every running mean is 0 and every variance 1, '
              'as before training', file=sys.stderr)
    description.write(workdir, found.config, found.vocab)
    params = variables['params']
    kept = {**variables, 'ema': variables} if values.averages(found.config) else variables
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    record = {**description.record(found.config, found.vocab, 0, {}, {}),
              'imported': f'{Path(file).name} (sha256 {digest[:16]})'}
    checkpoints = Checkpoints(workdir)
    try:
        checkpoints.save(0, {'variables': kept}, record, {})
    finally:
        checkpoints.close()
    print(f'{file}: {len(state)} arrays of {found.recipe}, {cost.parameters(params):,} trainable parameters '
          f'({cost.parameters(variables):,} with statistics), written to {workdir}; '
          f'try: recog evaluate {workdir}')
    return 0


def _untrained(stats: Mapping[str, Any]) -> bool:
    """Whether no batch norm has seen anything yet."""
    leaves = {path: leaf for path, leaf in models.flatten(stats).items() if path[-1] in ('mean', 'variance')}
    return bool(leaves) and all(np.all(leaf == (path[-1] == 'variance')) for path, leaf in leaves.items())


def recognise(state: Mapping[str, Any], file: str, overrides: list[str]) -> Recognised:
    """The recipe, of those whose weights are published, that has most of the names of a checkpoint; of
    several of the same names, the first that has most of the shapes too."""
    alike: list[Recognised] = []
    most = 0.0
    for recipe in published():
        found = _built(recipe, tuple(overrides))
        names, peers = set(found.model.adapt(state)), set(found.model.peers)
        share = len(names & peers) / len(names | peers)
        if share >= most and len(names & peers) >= LIKE * min(len(names), len(peers)):
            alike, most = [*(alike if share == most else ()), found], share
    if not alike:
        raise ConfigError(f'{file}: its names ({", ".join(list(state)[:3])}, ...) are those of none of '
                          f'{", ".join(published())}; --config FILE:VARIANT says which recipe it is')
    if len(alike) == 1:
        return alike[0]
    return min(alike, key=lambda each: len(matched(each.model, state)[1]['misshapen']))


def published() -> list[str]:
    """The recipes whose reference has published weights: `PUBLISHED` in the files of experiments."""
    try:
        files = experiments.files()
    except ConfigError as error:
        raise ConfigError(f'{error}; or --config FILE:VARIANT says which recipe it is') from None
    return [f'{file}:{variant}' for file in files for variant in experiments.declared(file).published]


@functools.cache
def _built(recipe: str, overrides: tuple[str, ...]) -> Recognised:
    config = experiments.load(recipe, overrides)
    vocab = vocabulary.from_config(config.text)
    return Recognised(recipe, config, vocab, models.build(config, vocab))


def _variables(found: Recognised, state: Mapping[str, Any], file: str, partial: bool) -> models.Variables:
    """The variables of the file, all or nothing; `partial` lets what it lacks start afresh, and says so."""
    filled, problems = matched(found.model, state)
    lenient = ('missing', 'surplus') if partial else ()
    wrong = '; '.join(listed(kind, names, SHOWN)
                      for kind, names in problems.items() if names and kind not in lenient)
    if wrong:
        hint = '' if partial or any(names for kind, names in problems.items()
                                    if kind not in ('missing', 'surplus')) else \
            ' (--partial lets what is missing start afresh and leaves out what is surplus)'
        raise ConfigError(f'{file} is not of {found.recipe}: {wrong}{hint}')
    if not filled:
        raise ConfigError(f'{file} holds nothing of {found.recipe}')
    for kind, words in (('missing', 'starts afresh'), ('surplus', 'left out')):
        for name in problems[kind]:
            print(f'{words}: {name}')
    start = found.model.init(jax.random.key(values.seed(found.config, 'init'))) if problems['missing'] else {}
    return jax.tree.map(np.asarray, models.variables(models.flatten(start) | filled))
