"""Exported folders, opened without JAX: the manifest says all that is needed to use the other files.

| file | what |
|---|---|
| `manifest.json` | how images are fitted, the vocabulary, inputs and outputs, the model's origin, hashes |
| `model.onnx` | images, their sizes and `max_length` to texts |
| `explain.onnx` | the same, with the maps of an explanation; it reads the weights in `model.onnx` |
| `model.stablehlo`, `explain.stablehlo` | the same for JAX |
| `weights.npz` | the arrays that both of these take |
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from recog.config import recipe, values
from recog.errors import ConfigError
from recog.reading.read import Engine
from recog.text.vocabulary import Vocab
from recog.workdir.folder import is_remote

MANIFEST = 'manifest.json'
FORMS = ('onnx', 'stablehlo')


class Folder:
    """An exported model: `manifest`, and the recipe and the vocabulary in it."""

    def __init__(self, path: Path, manifest: dict[str, Any], devices: str = ''):
        self.path, self.manifest, self.devices = path, manifest, devices
        self.form: str = manifest['format']
        self.config: ConfigDict = recipe.from_json(json.dumps(manifest['config']))
        fields = manifest['vocabulary']
        self.vocab = Vocab(tuple(fields['tokens']), fields['case'], fields['unknown'], fields['separator'])

    def engine(self, best: int = 1, details: bool = False) -> Engine:
        """The engine of its file; with `details`, of the file that also gives maps."""
        from recog.reading import engines

        file = self.path / f'{"explain" if details else "model"}.{self.form}'
        if self.form == 'onnx':
            if self.devices:
                raise ConfigError(f'--devices {self.devices}: {self.path} is an export to ONNX, '
                                  'which runs on CPUs; leave it out')
            return engines.Onnx(file, best, details)
        return engines.StableHlo(file, self.path / 'weights.npz', best, details, self.devices)

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


def open_folder(path: str | Path, devices: str = '') -> Folder:
    """An exported folder, whose files are compared with their hashes first."""
    path = Path(path)
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding='utf-8'))
        sound = manifest['format'] in FORMS and manifest['digest'] == digest(manifest)
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise ConfigError(f'{file} is damaged, or was not written by recog export; export the model again')
    for name, facts in manifest['files'].items():
        if not (path / name).is_file():
            raise ConfigError(f'{path / name} is missing; export the model again')
        if described(path / name) != facts:
            raise ConfigError(f'{path / name} is damaged: it is not what recog export wrote; '
                              'export the model again')
    return Folder(path, manifest, devices)


def described(file: Path) -> dict[str, Any]:
    """Hash and size of a file, as a manifest holds them."""
    with file.open('rb') as opened:
        return {'sha256': hashlib.file_digest(opened, 'sha256').hexdigest(), 'bytes': file.stat().st_size}


def digest(manifest: dict[str, Any]) -> str:
    """Twelve digits over all other fields of a manifest."""
    return values.digest({name: value for name, value in manifest.items() if name != 'digest'})
