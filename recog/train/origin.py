"""Where a training starts: what its recipe takes over from the workdir or reader `config.init`."""

from typing import Any

from ml_collections import ConfigDict

from recog.config.recipe import changed
from recog.config.values import flat
from recog.errors import ConfigError
from recog.reading.named import find
from recog.workdir.description import read_config
from recog.workdir.files import is_workdir
from recog.workdir.folder import workdir_path

# What makes a network, its images and its characters what they are, and how old examples are drawn.
TAKEN = ('model.', 'text.', 'image.', 'render.', 'formulas.', 'data.buckets', 'data.pixels',
         'optimizer.groups')
OWN = ('image.augment.', 'render.count', 'formulas.count')


def completed(config: ConfigDict) -> ConfigDict:
    """The recipe with the fields of where it starts, if it asks for them and says where that is."""
    if not (config.init_recipe and config.init):
        return config
    before = read_config(_place(config, 'init_recipe'))
    if before.model.name != config.model.name:
        raise ConfigError(f'config.init={config.init!r} is a {before.model.name}; take the recipe of its '
                          f"experiment, not that of config.model.name='{config.model.name}'")
    fields = {name: value for name, value in flat(before).items()
              if name.startswith(TAKEN) and not name.startswith(OWN)}
    with config.unlocked():
        return changed(config, fields)


def check(config: ConfigDict) -> None:
    """Refuse a recipe that goes on from somewhere and does not say where."""
    for field, asked in (('init_recipe', config.init_recipe), ('eval.before', config.eval.before)):
        if asked and not config.init:
            raise ConfigError("config.init='' must name a workdir or reader (--config.init=NAME), as "
                              f'config.{field}=True needs it')
        if asked:
            _place(config, field)


def _place(config: ConfigDict, field: str) -> Any:
    """The folder of `config.init`, which must be that of a workdir or reader."""
    place = workdir_path(find(config.init))
    if not is_workdir(place):
        raise ConfigError(f'config.init={config.init!r} must be a workdir of recog or a reader, as '
                          f'config.{field}=True needs it')
    return place
