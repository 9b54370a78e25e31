"""What a packed set was made from: the set, and the fields of the recipe that decide what it holds."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from recog.config import values
from recog.data.packed import MANIFEST
from recog.errors import ConfigError

# The group of fields by which a set that has no end is drawn.
DRAWN_BY = {'rendered': 'render', 'formulas': 'formulas', 'composed': 'composed'}
# Fields that older sets do not record, with the values under which these are drawn as they were without them.
NEWER = {'render.turned': 0.0}


def origin(name: str, config: ConfigDict) -> dict[str, Any]:
    """The set's name, and the fields by which it is drawn."""
    group = DRAWN_BY.get(name.partition(':')[0])
    fields = {f'config.{field}': list(value) if isinstance(value, tuple) else value
              for field, value in values.flat(config).items()
              if group and field.startswith(f'{group}.') and NEWER.get(field) != value}
    return {'set': name, **fields, **({'seed of the data': values.seed(config, 'data')} if group else {})}


def check_origin(folder: Path, name: str, config: ConfigDict) -> None:
    """Refuse a packed set that was made from another set, or drawn otherwise."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
    found, wanted = manifest.get('origin', {}), origin(name, config)
    for field in dict.fromkeys((*found, *wanted)):
        if found.get(field) != wanted.get(field):
            raise ConfigError(f'{folder} was packed with {field} {found.get(field)!r}, the recipe has '
                              f'{wanted.get(field)!r}; remove it to pack the set again')
