"""What training starts from: another run's weights, or a published file's, all or some parts of them."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.errors import ConfigError, nearest
from recog.models.peers import listed, matched
from recog.text.vocabulary import Vocab
from recog.weights.files import read_weights
from recog.workdir.files import is_workdir
from recog.workdir.folder import workdir_path
from recog.workdir.opened import open_workdir


class Initial(NamedTuple):
    """The variables that are given, the rest being drawn, and what is to be said about them."""

    variables: models.Variables
    words: tuple[str, ...] = ()


def given(config: ConfigDict, vocab: Vocab, model: models.Model) -> Initial:
    """The variables of `config.init`, or those that the recipe itself asks for."""
    if not config.init:
        return Initial(model.pretrained())
    shapes = models.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    found, known = _read(config.init, model)
    wanted = [path for path in shapes if not config.init_parts
              or any(fnmatchcase('/'.join(path[1:]), pattern) for pattern in config.init_parts)]
    for pattern in config.init_parts:
        if not any(fnmatchcase('/'.join(path[1:]), pattern) for path in shapes):
            parts = list(dict.fromkeys(f'{path[1]}/*' for path in shapes))
            raise ConfigError(f'config.init_parts: {pattern!r} fits no parameter{nearest(pattern, parts)}; '
                              f'there are: {", ".join(parts)}')
    anew = []
    # Their rows belong to other tokens now, even where there are as many.
    if known is not None and known.tokens != vocab.tokens:
        sized = {name for name in model.about.vocabulary_parameters}
        anew = [path for path in wanted if '/'.join(path[1:]) in sized]
        wanted = [path for path in wanted if path not in anew]
    _check(config.init, wanted, shapes, found)
    words = [f'starts from {config.init}: {len(wanted)} of {len(shapes)} arrays']
    if anew:
        words.append(f'made anew, as the vocabulary is another: {_names(anew)}')
    if config.init_parts:
        words.append(f'not taken, by config.init_parts: {_names([p for p in shapes if p not in wanted and p not in anew], 4)}')
    return Initial(models.unflatten({path: np.asarray(found[path], np.float32) for path in wanted}), tuple(words))


def _read(name: str, model: models.Model) -> tuple[dict[tuple[str, ...], Any], Vocab | None]:
    """The arrays of a workdir or file by our paths, and the vocabulary that they were trained with, where it is known."""
    place = workdir_path(name)
    if is_workdir(place):
        opened = open_workdir(name)
        return models.flatten(jax.device_get(opened.variables)), opened.vocab
    if not Path(name).is_file():
        raise ConfigError(f'config.init={name!r} is neither a workdir of recog nor a file')
    filled, problems = matched(model, read_weights(name))
    wrong = '; '.join(listed(kind, names) for kind, names in problems.items()
                      if names and kind not in ('missing', 'surplus', 'misshapen'))
    if wrong:
        raise ConfigError(f'config.init={name!r}: {wrong}')
    return dict(filled), None


def _check(
    name: str, wanted: Sequence[tuple[str, ...]], shapes: dict[tuple[str, ...], Any], found: dict[tuple[str, ...], Any]
) -> None:
    missing = [path for path in wanted if path not in found]
    wrong = [path for path in wanted if path in found and np.shape(found[path]) != shapes[path].shape]
    if missing or wrong:
        what = [f'{kind} {_names(paths)}' for kind, paths in (('missing', missing), ('of another shape', wrong)) if paths]
        raise ConfigError(f'config.init={name!r} does not fit: {"; ".join(what)}; '
                          'config.init_parts, patterns such as backbone/*, says which parts to take')


def _names(paths: Sequence[tuple[str, ...]], most: int = 8) -> str:
    more = f' and {len(paths) - most} more' if len(paths) > most else ''
    return ', '.join('/'.join(path[1:]) for path in paths[:most]) + more
