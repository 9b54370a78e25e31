"""Every variant of every experiment as shapes alone: a network at full size that no memory need hold."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict
from small import ROOT

from recog import models
from recog.config import experiments, values
from recog.images.fit import channels
from recog.text import vocabulary
from recog.train import optimizer
from recog.train.step import State, make_state


class Shapes(NamedTuple):
    """What a training step of a recipe is made of; the state and the batch are shapes."""

    config: ConfigDict
    model: models.Model
    rate: Callable[[Any], Any]
    tx: optax.GradientTransformation
    state: State
    batch: dict[str, jax.ShapeDtypeStruct]


def recipes() -> list[str]:
    """'crnn.py:r34' and all others, but for fine-tunings, whose networks are those of where they start."""
    files = experiments.files(ROOT)
    return [f'{file.name}:{name}' for file in files for name in experiments.declared(file).variants
            if name != 'finetune']


def shapes(recipe: str) -> Shapes:
    """A recipe, loaded and built as a training does it."""
    config = experiments.load(str(ROOT / 'experiments' / recipe))
    model = models.build(config, vocabulary.from_config(config.text))
    epoch = max(1, (config.data.nominal or config.render.count) // config.train.batch)
    total = values.steps(config.train.length, batch=config.train.batch, epoch=epoch)
    rate = optimizer.schedule(config, total, epoch)
    tx = optimizer.optimizer(config, rate)
    state = jax.eval_shape(lambda key: make_state(model, tx, config.train.ema, key), jax.random.key(0))
    rows, rule, length = config.train.batch, config.image, config.text.max_length
    batch = {
        'image': jax.ShapeDtypeStruct((rows, rule.height, rule.width, channels(rule)), jnp.uint8),
        'size': jax.ShapeDtypeStruct((rows, 2), jnp.int32),
        'tokens': jax.ShapeDtypeStruct((rows, length), jnp.int32),
        'length': jax.ShapeDtypeStruct((rows,), jnp.int32),
        'weight': jax.ShapeDtypeStruct((rows,), jnp.float32),
        'index': jax.ShapeDtypeStruct((rows,), jnp.int32),
    }
    return Shapes(config, model, rate, tx, state, batch)


def kinds(tree: Any) -> Any:
    """Shape and type of every leaf."""
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
