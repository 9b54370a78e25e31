"""The weights that training starts from: another run's or a published file's, all of them or parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.errors import ConfigError
from recog.models.peers import listed, matched
from recog.reading.named import find
from recog.text.vocabulary import Vocab
from recog.train import patterns, rows
from recog.weights.files import read_weights
from recog.workdir.files import is_workdir
from recog.workdir.folder import workdir_path
from recog.workdir.opened import open_workdir


class Initial(NamedTuple):
    """The variables that are taken from elsewhere, and lines that say which; others are drawn at random.

    Of those in `kept` only the rows in the mask are taken.
    """

    variables: models.Variables
    lines: tuple[str, ...] = ()
    kept: models.Variables = {}

    def rates(self, taken: float) -> dict[str, Any]:
        """What multiplies the rate of each parameter that was taken, by its path: drawn rows keep theirs."""
        masks = models.flatten(self.kept)
        return {_name(path): np.where(masks[path], np.float32(taken), np.float32(1)) if path in masks
                else taken for path in models.flatten(self.variables) if path[0] == 'params'}


def load(config: ConfigDict, vocab: Vocab, model: models.Model) -> Initial:
    """The variables of `config.init`, else the pretrained ones that the recipe's model asks for."""
    if not config.init:
        return Initial(model.pretrained())
    shapes = models.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    found, trained_with = _read(config.init, model)
    parts = config.init_parts
    patterns.check('config.init_parts', parts, [_name(path) for path in shapes])
    wanted = [path for path in shapes if not parts or patterns.chosen(_name(path), parts)]
    # Even if it has as many tokens, another vocabulary gives the rows of some parameters other meanings.
    moved = {} if trained_with is None or trained_with.tokens == vocab.tokens else \
        _moved(model, wanted, shapes, found, trained_with, vocab)
    _check(config.init, [path for path in wanted if path not in moved], shapes, found)
    lines = [f'starts from {config.init}: {len(wanted)} of {len(shapes)} arrays']
    if moved and trained_with is not None:
        lines.append(rows.said(trained_with, vocab, map(_name, moved)))
    if parts:
        lines.append('not taken, by config.init_parts: '
                     f'{_names([path for path in shapes if path not in wanted], 4)}')
    arrays = {path: moved[path].array if path in moved else np.asarray(found[path], np.float32)
              for path in wanted}
    kept = {path: each.kept for path, each in moved.items()}
    return Initial(models.unflatten(arrays), tuple(lines), models.unflatten(kept))


def _moved(model: models.Model, wanted: Sequence[tuple[str, ...]], shapes: dict[tuple[str, ...], Any],
           found: dict[tuple[str, ...], Any], old: Vocab, new: Vocab) -> dict[tuple[str, ...], rows.Carried]:
    """The parameters with a row for each token, their rows where the new vocabulary has them.

    What does not fit otherwise is not among them.
    """
    sized, tokens = model.about.vocabulary_parameters, (len(old), len(new))
    return {path: rows.carried(found[path], sized[_name(path)], old, new) for path in wanted
            if _name(path) in sized and path in found
            and rows.fits(sized[_name(path)], np.shape(found[path]), shapes[path].shape, tokens)}


def check_there(config: ConfigDict) -> None:
    """Refuse a `config.init` that is not there, without reading it."""
    if config.init:
        _place(config.init)


def _place(name: str) -> Path:
    """Where the weights of this name are."""
    place = workdir_path(find(name))
    if not is_workdir(place) and not Path(name).is_file():
        raise ConfigError(f'config.init={name!r} is neither a workdir of recog nor a file')
    return place


def _read(name: str, model: models.Model) -> tuple[dict[tuple[str, ...], Any], Vocab | None]:
    """The arrays of a workdir or file by our paths, and the vocabulary they were trained with, if known."""
    place = _place(name)
    if is_workdir(place):
        opened = open_workdir(place)
        return models.flatten(jax.device_get(opened.variables)), opened.vocab
    filled, problems = matched(model, read_weights(name))
    wrong = '; '.join(listed(kind, names) for kind, names in problems.items()
                      if names and kind not in ('missing', 'surplus', 'misshapen'))
    if wrong:
        raise ConfigError(f'config.init={name!r}: {wrong}')
    return dict(filled), None


def _check(name: str, wanted: Sequence[tuple[str, ...]], shapes: dict[tuple[str, ...], Any],
           found: dict[tuple[str, ...], Any]) -> None:
    missing = [path for path in wanted if path not in found]
    misshapen = [path for path in wanted if path in found and np.shape(found[path]) != shapes[path].shape]
    if missing or misshapen:
        kinds = ('missing', missing), ('of another shape', misshapen)
        what = [f'{kind} {_names(paths)}' for kind, paths in kinds if paths]
        raise ConfigError(f'config.init={name!r} does not fit: {"; ".join(what)}; '
                          'config.init_parts, patterns such as backbone/*, says which parts to take')


def _name(path: tuple[str, ...]) -> str:
    """The path without its collection, which is params or stats."""
    return '/'.join(path[1:])


def _names(paths: Sequence[tuple[str, ...]], most: int = 8) -> str:
    more = f' and {len(paths) - most} more' if len(paths) > most else ''
    return ', '.join(_name(path) for path in paths[:most]) + more
