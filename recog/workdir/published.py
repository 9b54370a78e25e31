"""Published readers: a trained model as a folder that is small and opens without Orbax.

To all who read it, it is a workdir, whose model stands in one file instead of in checkpoints.

| file | what |
|---|---|
| `reader.json` | facts about the reader, and size and SHA-256 of all other files |
| `weights.safetensors` | the arrays by their paths, `params/...` and `stats/...`; averages if there are any |
| `config.json`, `vocab.json` | the recipe and the vocabulary |
| `lexicon.json`, `lexicon.txt.xz` | words that the reader prefers, if it has a list |
| `results.json` | what was measured, if anything was |
| `card.md` | all this in words |
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.config import values
from recog.errors import ConfigError
from recog.text.lexicon import Lexicon
from recog.text.vocabulary import Vocab
from recog.workdir import lexicon
from recog.workdir.description import parse_config
from recog.workdir.files import CONFIG, LEXICON, LEXICON_WORDS, READER, RESULTS, VOCAB

WEIGHTS, CARD = 'weights.safetensors', 'card.md'
NEEDED = (WEIGHTS, CONFIG, VOCAB, CARD)  # files of a reader besides reader.json
MEASURED = (*NEEDED, RESULTS)  # those of one that was measured
ALLOWED = (*MEASURED, LEXICON, LEXICON_WORDS)
FORM = 2  # the version of this form; the first had no lexicon
MOST = 1_000_000  # bytes of reader.json
# Types of arrays by their names here and in the file.
KINDS = {'float16': ('F16', np.float16), 'bfloat16': ('BF16', ml_dtypes.bfloat16),
         'float32': ('F32', np.float32)}


class Published(NamedTuple):
    """What a published reader holds, each file compared with its hash."""

    manifest: dict[str, Any]
    config: ConfigDict
    vocab: Vocab
    arrays: dict[tuple[str, ...], np.ndarray]  # by their paths, float32
    lexicon: Lexicon | None


def manifest(content: bytes, place: Any) -> dict[str, Any]:
    """What reader.json holds; `place` is named where it is not sound."""
    try:
        if len(content) > MOST:
            raise ValueError
        found = json.loads(content)
        if found['form'] > FORM:
            raise ConfigError(f'{place} was published by recog {found["recog"]}, a newer one than this')
        sound = found['digest'] == digest(found) and set(NEEDED) <= set(found['files']) <= set(ALLOWED)
        sound &= all(len(each['sha256']) == 64 and each['bytes'] >= 0 for each in found['files'].values())
        sound &= {'model', 'step', 'metrics', 'imported', 'kind', 'licences'} <= set(found)
        sound &= type(found.get('beam', 0)) is int and 0 <= found.get('beam', 0) <= lexicon.WIDEST
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise ConfigError(f'{place} is damaged, or was not written by recog publish')
    return found


def read_manifest(folder: Any) -> dict[str, Any]:
    """The manifest of a published reader."""
    return manifest((folder / READER).read_bytes(), folder / READER)


def contents(folder: Any, found: Mapping[str, Any]) -> dict[str, bytes]:
    """All files that a manifest names, each compared with its hash."""
    content = {}
    for name, facts in found['files'].items():
        if not (folder / name).is_file():
            raise ConfigError(f'{folder / name} is missing')
        content[name] = (folder / name).read_bytes()
        if described(content[name]) != facts:
            raise ConfigError(f'{folder / name} is damaged: it is not what was published')
    return content


def read(folder: Any) -> Published:
    """A published reader; nothing in it is run."""
    found = read_manifest(folder)
    content = contents(folder, found)
    try:
        config, vocab = (parse(content[name].decode()) for parse, name in
                         ((parse_config, CONFIG), (Vocab.from_json, VOCAB)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f'{folder}: its recipe or vocabulary cannot be read: '
                          f'{" ".join(str(error).split())[:200]}') from None
    words = lexicon.parse(content[LEXICON], content[LEXICON_WORDS], folder / LEXICON) \
        if LEXICON in content and LEXICON_WORDS in content else None
    return Published(found, config, vocab, _arrays(content[WEIGHTS], folder / WEIGHTS), words)


def filled(found: Published, layout: Mapping[str, Any], place: Any) -> models.Variables:
    """The arrays as the variables of a model, whose shapes `layout` says; others are refused."""
    wanted = {path: leaf.shape for path, leaf in models.flatten(layout).items()}
    shapes = {path: array.shape for path, array in found.arrays.items()}
    wrong = [path for path in {**wanted, **shapes} if wanted.get(path) != shapes.get(path)]
    if wrong:
        one = wrong[0]
        raise ConfigError(f'{place}: {"/".join(one)} has the shape {shapes.get(one)}, '
                          f'the recipe asks for {wanted.get(one)}')
    return models.variables(found.arrays)


def encoded(variables: models.Variables, kind: str) -> tuple[bytes, models.Variables]:
    """The content of weights.safetensors in this type, and the variables as they will be read from it."""
    from safetensors import numpy

    _, dtype = KINDS[kind]
    leaves = {path: np.asarray(leaf) for path, leaf in models.flatten(variables).items()}
    with np.errstate(over='ignore'):
        rounded = {path: np.ascontiguousarray(leaf.astype(dtype)) for path, leaf in leaves.items()}
    for path, leaf in rounded.items():
        bad = ~np.isfinite(leaf.astype(np.float32))
        if bad.any():
            value = leaves[path][bad].flat[0]
            other = '; --kind bfloat16 can hold it' if np.isfinite(value) else ''
            raise ConfigError(f'{"/".join(path)} holds {value:.4g}, which is no number of {kind}{other}')
    content = numpy.save({'/'.join(path): leaf for path, leaf in rounded.items()})
    return content, models.variables({path: leaf.astype(np.float32) for path, leaf in rounded.items()})


def _arrays(content: bytes, place: Any) -> dict[tuple[str, ...], np.ndarray]:
    """The arrays of a file of safetensors, which its own reader of NumPy cannot give in bfloat16."""
    from safetensors import SafetensorError, deserialize

    kinds = dict(KINDS.values())
    try:
        return {tuple(name.split('/')): np.frombuffer(facts['data'], kinds[facts['dtype']])
                .reshape(facts['shape']).astype(np.float32) for name, facts in deserialize(content)}
    except (SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f'{place} is no file of weights in {", ".join(KINDS)}: {error}') from None


def described(content: bytes) -> dict[str, Any]:
    """Hash and size of a file, as a manifest holds them."""
    return {'sha256': hashlib.sha256(content).hexdigest(), 'bytes': len(content)}


def digest(found: Mapping[str, Any]) -> str:
    """Twelve digits over all other fields of a manifest."""
    return values.digest({name: value for name, value in found.items() if name != 'digest'})
