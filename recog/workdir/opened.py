"""A trained model, opened from its workdir or from a published reader."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from recog import models
from recog.config import recipe, values
from recog.devices.mesh import one_device, replicated
from recog.errors import ConfigError
from recog.text.lexicon import Lexicon
from recog.text.vocabulary import Vocab
from recog.workdir import calibration, lexicon, published
from recog.workdir.checkpoints import FOLDER, Checkpoints
from recog.workdir.description import parse_config, read_config
from recog.workdir.files import is_published
from recog.workdir.folder import workdir_path


class Opened(NamedTuple):
    """A trained model, from nothing but its workdir."""

    workdir: Path
    step: int
    config: ConfigDict
    vocab: Vocab
    model: models.Model
    variables: models.Variables
    metrics: dict[str, float]
    imported: str  # the file that the weights came from, '' where they were trained
    calibration: Mapping[str, Any] = {}  # of this step, where it was fitted
    lexicon: Lexicon | None = None  # words that it prefers, if it has a list
    own_beam: int = 0  # that a reader was published with, if with one

    @property
    def temperature(self) -> float:
        """By which scores are divided before they are confidences."""
        return calibration.temperature(self.calibration, self.workdir)

    def beam(self, otherwise: int = 1) -> int:
        """The width of the beam where none is asked for."""
        return self.lexicon.beam if self.lexicon else self.own_beam or otherwise


def open_workdir(workdir: str | Path, step: int | None = None, mesh: Mesh | None = None,
                 precision: str = '') -> Opened:
    """A trained model from its workdir: the best step by the metric, else the newest, or the one asked for.

    Weights and statistics are the averaged ones where they are kept, whole on every device of the mesh
    (default: one). A precision replaces eval.precision. Instead of a damaged step the newest sound one is
    used, and that is reported. A published reader has one step.
    """
    folder = workdir_path(workdir)
    everywhere = replicated(mesh or one_device())
    if is_published(folder):
        return _open_published(folder, step, everywhere, precision)
    read_config(folder)
    checkpoints = Checkpoints(folder, writing=False) if (folder / FOLDER).is_dir() else None
    if checkpoints is None or not checkpoints.steps():
        raise ConfigError(f'{folder} holds no checkpoint yet')
    try:
        if step is not None and step not in checkpoints.steps():
            steps = ', '.join(map(str, checkpoints.steps()))
            raise ConfigError(f'--step {step}: {folder} holds steps {steps}')
        opened = checkpoints.first_sound(_wanted(checkpoints) if step is None else [step],
                                         lambda step: _open_step(checkpoints, folder, step, everywhere,
                                                                 precision))
    finally:
        checkpoints.close()
    if opened is None:
        asked = f' of step {step}; others can be opened without --step' if step is not None else ''
        raise ConfigError(f'{folder} holds no sound checkpoint{asked}')
    return opened


def _wanted(checkpoints: Checkpoints) -> list[int]:
    """The steps in the order in which they are used: the best, then the newest."""
    best = checkpoints.best()
    return [best, *sorted(set(checkpoints.steps()) - {best}, reverse=True)]


def _open_published(folder: Path, step: int | None, everywhere: NamedSharding, precision: str) -> Opened:
    found = published.read(folder)
    facts, config = found.manifest, found.config
    if step not in (None, facts['step']):
        raise ConfigError(f'--step {step}: {folder} holds step {facts["step"]} alone')
    config.eval.precision = precision or config.eval.precision
    if config.model.name not in models.names():  # nothing that came from elsewhere may choose what is run
        raise ConfigError(f'{folder}: config.model.name={config.model.name!r} is not one of '
                          f'{", ".join(models.names())}')
    try:
        model = models.build(recipe.evaluated(config), found.vocab)
        layout = jax.eval_shape(model.init, jax.random.key(0))
    except ConfigError:
        raise
    # It may come from anywhere: a recipe that no training has checked raises almost any exception.
    except Exception as error:
        raise ConfigError(f'{folder}: its recipe makes no model: {type(error).__name__}: '
                          f'{" ".join(str(error).split())[:200]}') from None
    variables = published.filled(found, layout, folder)
    fitted = facts.get('calibration', {})
    calibration.temperature(fitted, folder)  # it may come from anywhere
    return Opened(folder, facts['step'], config, found.vocab, model, jax.device_put(variables, everywhere),
                  facts['metrics'], facts['imported'], fitted, found.lexicon, facts.get('beam', 0))


def _open_step(checkpoints: Checkpoints, folder: Path, step: int, everywhere: NamedSharding,
               precision: str) -> Opened:
    record = checkpoints.run(step)
    config, vocab = parse_config(record['config']), Vocab.from_json(record['vocab'])
    if vocab.hash != record['vocab_hash']:
        raise ConfigError(f'{folder}, step {step}: the vocabulary is not the one the model was trained with')
    config.eval.precision = precision or config.eval.precision
    model = models.build(recipe.evaluated(config), vocab)
    layout = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
                          abstract_variables(config, model))
    variables, _ = restore_variables(checkpoints, step, layout)
    imported = record['imported'] if 'imported' in record else ''
    return Opened(folder, step, config, vocab, model, evaluated(variables), record['metrics'], imported,
                  calibration.read(folder, step), lexicon.read(folder))


def abstract_variables(config: ConfigDict, model: models.Model) -> dict[str, Any]:
    """Shapes of what the part `variables` of a checkpoint holds."""
    variables = dict(jax.eval_shape(model.init, jax.random.key(0)))
    return {**variables, 'ema': variables} if values.averages(config) else variables


def restore_variables(checkpoints: Checkpoints, step: int, layout: dict[str, Any]) -> tuple[Any, bool]:
    """The part `variables` of a step, and whether its averaged statistics are copies of the last ones.

    An earlier version averaged weights alone, and evaluated them with the last statistics.
    """
    saved = checkpoints.run(step)['digests'].get('variables', {})
    if 'ema' not in layout or any(path.startswith('ema/params/') for path in saved):
        return checkpoints.restore(step, 'variables', layout), False
    found = checkpoints.restore(step, 'variables', {**layout, 'ema': layout['ema']['params']})
    # Copies, because a step of training overwrites each of its arrays.
    return {**found, 'ema': {'params': found['ema'], 'stats': jax.tree.map(jnp.copy, found['stats'])}}, True


def evaluated(variables: dict[str, Any]) -> models.Variables:
    """The variables that evaluation and prediction use: the averages where there are any."""
    return variables.get('ema') or {'params': variables['params'], 'stats': variables['stats']}
