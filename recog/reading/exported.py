"""Exported folders, opened without JAX: the manifest says all that is needed to use the other files.

| file | what |
|---|---|
| `manifest.json` | how images are fitted, the vocabulary, inputs and outputs, the model's origin, hashes |
| `model.onnx` | images, their sizes and `max_length` to texts |
| `explain.onnx` | the same, with the maps of an explanation; it reads the weights in `model.onnx` |
| `model.stablehlo`, `explain.stablehlo` | the same for JAX |
| `weights.npz` | the arrays that both of these take |
| `lexicon.json`, `lexicon.txt.xz` | words that are preferred, if there is a list |

The hashes show damage, not who wrote the folder, and a model is a program: open exports of people you trust.
What a stranger forged in manifest, ONNX or weights is refused in a line; StableHLO that was forged together
with its hash can make JAX's own reader hang or end the process.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from recog.config import checks, recipe, values
from recog.data.shapes import shapes
from recog.errors import ConfigError, one_line
from recog.images import fit
from recog.images.read import MOST_PIXELS
from recog.text.vocabulary import Vocab
from recog.workdir import calibration, lexicon
from recog.workdir.files import LEXICON, LEXICON_WORDS
from recog.workdir.folder import is_remote

if TYPE_CHECKING:
    from recog.reading.engines import Exported

MANIFEST = 'manifest.json'
# The files of each form.
FILES = {'onnx': ('explain.onnx', 'model.onnx'),
         'stablehlo': ('explain.stablehlo', 'model.stablehlo', 'weights.npz')}
NUMBERS = ('beam', 'max_length', 'capacity')  # each at least 1
MOST = 1 << 24  # bytes of a manifest, and the largest of these numbers
AGAIN = 'export the model again'
MEAN = 'confidence'  # what older exports call `mean_token`


class Folder:
    """An exported model: `manifest`, and the recipe and the vocabulary in it."""

    def __init__(self, path: Path, manifest: dict[str, Any], devices: str = '', engine: str = ''):
        self.path, self.manifest, self.devices, self.engine_name = path, manifest, devices, engine
        self.form: str = manifest['format']
        # The fact of that name about the model; older exports do not say it.
        down, right = map(float, manifest.get('middle', (0.5, 0.5)))
        if not (0 <= down <= 1 and 0 <= right <= 1):
            raise ValueError('middle must be two shares')
        self.middle = down, right
        self.config: ConfigDict = recipe.from_json(json.dumps(manifest['config']))
        self.vocab = Vocab.from_json(json.dumps(manifest['vocabulary']))
        self.temperature = calibration.temperature(manifest.get('calibration', {}), MANIFEST)
        self.lexicon = lexicon.read(path) if LEXICON in manifest['files'] else None

    def engine(self, best: int = 1, details: bool = False, name: str = '') -> 'Exported':
        """The engine of its file; with `details`, of the file that also gives maps. A file of ONNX is run by
        the engine of this name, or else by the one that was asked for, or else by the fastest."""
        from recog.reading import engines

        file = self.path / f'{"explain" if details else "model"}.{self.form}'
        if self.form == 'onnx' and self.devices:
            raise ConfigError(f'--devices {self.devices}: {self.path} is an export to ONNX, '
                              'which runs on CPUs; leave it out')
        if self.form != 'onnx' and self.engine_name:
            raise ConfigError(f'--engine {self.engine_name}: {self.path} is an export to StableHLO, '
                              'which JAX runs; leave it out')
        name = '' if self.form != 'onnx' else name or self.engine_name or self._fastest()
        try:
            made = engines.ENGINES[name](file, best, details) if name else \
                engines.StableHlo(file, self.path / 'weights.npz', best, details, self.devices)
        except ConfigError:
            raise
        except Exception as error:  # its readers raise nearly anything
            raise ConfigError(f'{file} cannot be loaded ({one_line(error)}); {AGAIN}') from None
        made.run = partial(self._run, file, made.run)
        return made

    def _fastest(self) -> str:
        """The fastest engine for `model.onnx` on this machine."""
        from recog.reading import fastest

        canvas = shapes(self.config, 1, 1)[0]  # the smallest
        image = canvas.height, canvas.width, fit.channels(self.config.image)
        return fastest.engine(digest(self.manifest), image, lambda name: self.engine(name=name).run)

    def _run(self, file: Path, run: Callable[..., dict[str, np.ndarray]],
             *inputs: np.ndarray) -> dict[str, np.ndarray]:
        """What the model of a file gives, which must be tokens of the vocabulary."""
        try:
            out = self._as_now(run(*inputs), inputs[-1])
            shape = (len(inputs[0]), self.manifest['beam'])
            if out['tokens'].shape[:2] != shape or out['mean_token'].shape != shape or \
                    out['score'].shape != shape or not np.issubdtype(out['tokens'].dtype, np.signedinteger):
                raise ValueError('it gives something else than texts')
            if out['tokens'].max(initial=-1) >= len(self.vocab):
                raise ValueError(f'it gives more than the {len(self.vocab)} tokens of the vocabulary')
        except Exception as error:
            raise ConfigError(f'{file} cannot be run ({one_line(error)}); {AGAIN}') from None
        return out

    def _as_now(self, out: dict[str, np.ndarray], longest: np.ndarray) -> dict[str, np.ndarray]:
        """What an older export gives, by the names of today.

        It called the mean probability of tokens the confidence, and its scores were what ranks texts: divided
        by a power of the number of classes, one of which is the end of a text that was not cut. The score of
        CTC's best path was that of one alignment, which stays.
        """
        if MEAN not in out:
            return out
        penalty = self.config.model.get('length_penalty', 0.0)
        classes = np.maximum(out['length'] + (out['length'] < longest), 1)
        new = {'mean_token': out[MEAN], 'score': out['score'] * classes ** penalty}
        return {name: value for name, value in out.items() if name != MEAN} | new

    def check(self, **asked: Any) -> None:
        """Refuse another beam, step or width_rule than the folder was exported with."""
        exported = {'beam': self.manifest['beam'], 'step': self.manifest['step'],
                    'width_rule': self.config.image.width_rule}
        for name, value in asked.items():
            if value not in ('', 0, None, exported[name]):
                option = f'--{name.replace("_", "-")}'
                how = 'use the workdir' if name == 'width_rule' else f'export it again with {option} {value}'
                raise ConfigError(f'{option} {value}: {self.path} was exported with '
                                  f'{option} {exported[name]}; {how}')


def is_exported(path: Any) -> bool:
    """Whether the folder is an export."""
    return not is_remote(path) and (Path(path) / MANIFEST).is_file()


def needs_jax(path: Any) -> bool:
    """Whether the model of this folder runs in JAX: a workdir's, or an export to StableHLO."""
    return not is_exported(path) or not (Path(path) / 'model.onnx').is_file()


def open_folder(path: str | Path, devices: str = '', engine: str = '') -> Folder:
    """An exported folder, whose files are compared with their hashes first."""
    path = Path(path)
    file = path / MANIFEST
    try:
        if file.stat().st_size > MOST:
            raise ValueError
        manifest = json.loads(file.read_text(encoding='utf-8'), parse_constant=_no_number)
        sound = manifest['format'] in FILES and manifest['digest'] == digest(manifest)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise ConfigError(f'{file} is damaged, or was not written by recog export; {AGAIN}')
    try:
        folder, older = _checked(path, manifest, devices, engine), MEAN in manifest['outputs']
    except ConfigError as error:
        raise ConfigError(f'{file}: {one_line(error)}; {AGAIN}') from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ConfigError(f'{file} is not as recog export writes it ({one_line(error)}); {AGAIN}') from None
    for name, facts in manifest['files'].items():
        if not (path / name).is_file():
            raise ConfigError(f'{path / name} is missing; {AGAIN}')
        if described(path / name) != facts:
            raise ConfigError(f'{path / name} is damaged: it is not what recog export wrote; {AGAIN}')
    if older:
        print(f'recog: {path} was exported by an older version, whose scores need not be probabilities of '
              f'whole texts; {AGAIN}', file=sys.stderr)
    return folder


def _checked(path: Path, manifest: dict[str, Any], devices: str, engine: str) -> Folder:
    """The folder, if all that is used of its manifest is what it must be."""
    names = FILES[manifest['format']]
    if sorted({*manifest['files']} - {LEXICON, LEXICON_WORDS}) != [*names]:
        raise ConfigError(f'files must be {", ".join(names)}')
    for name in NUMBERS:
        if type(manifest[name]) is not int or not 0 < manifest[name] <= MOST:
            raise ConfigError(f'{name}={repr(manifest[name])[:60]} must be a number from 1 to {MOST}')
    if type(manifest['step']) is not int or not isinstance(manifest['source'], str):
        raise ConfigError('step and source must be a number and a text')
    folder = Folder(path, manifest, devices, engine)
    checks.check_fields(folder.config)
    largest = shapes(folder.config, 1, 1)[-1]
    if largest.height * largest.width > MOST_PIXELS:
        raise ConfigError(f'config.image has more than {MOST_PIXELS:,} pixels')
    if not folder.vocab.tokens or not isinstance(folder.config.model.name, str):
        raise ConfigError('vocabulary and model must have names')
    return folder


def _no_number(word: str) -> None:
    raise ValueError(f'{word} is no number')


def described(file: Path) -> dict[str, Any]:
    """Hash and size of a file, as a manifest holds them."""
    with file.open('rb') as opened:
        return {'sha256': hashlib.file_digest(opened, 'sha256').hexdigest(), 'bytes': file.stat().st_size}


def digest(manifest: dict[str, Any]) -> str:
    """Twelve digits over all other fields of a manifest."""
    return values.digest({name: value for name, value in manifest.items() if name != 'digest'})
