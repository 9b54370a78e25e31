"""Whether a recipe's network and its rival are the same function, given the same weights."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import jax
import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.bench import programs
from recog.bench.rivals.frameworks import Framework
from recog.devices import cost
from recog.errors import ConfigError

ROWS = 4
EQUAL = 1e-4  # relative to the largest value

# From our variables and a batch to a rival's logits and texts.
Computed = Callable[[models.Variables, dict[str, np.ndarray]], tuple[np.ndarray, list[list[int]]]]


def check(framework: Framework, model: models.Model, config: ConfigDict, parameters: int,
          computed: Computed, *, sized: bool, taught: bool) -> float:
    """Raise an error unless numbers of parameters, logits and texts are equal; returns
    the largest difference of the logits.

    sized: the rival asks for the sizes of images; taught: it computes logits only of given texts.
    """
    ours = cost.parameters(jax.eval_shape(model.init, jax.random.key(0))['params'])
    if ours != parameters:
        raise ConfigError(f'{framework.option}: the rival has {parameters:,} trainable parameters '
                          f'instead of {ours:,}')
    variables = _lively(model)
    batch, longest = _smooth(config), config.text.max_length
    if sized:  # half of a canvas is padding
        batch['size'][-1, 1] //= 2
    run = jax.jit(lambda variables, batch: (model.apply(variables, batch)[0]['head'],
                                            model.decode(variables, batch['image'], batch['size'],
                                                         longest)['tokens'][:, 0]))
    seen = ('image', 'size', *(('tokens', 'length', 'weight') if taught else ()))
    logits, tokens = jax.tree.map(np.asarray, run(variables, {name: batch[name] for name in seen}))
    theirs, found = computed(variables, batch)
    off = _difference(theirs, logits)
    if not off < EQUAL:
        raise ConfigError(f'{framework.option}: logits of the rival differ by {off:.1e} of the largest, more '
                          f'than {EQUAL:.0e}')
    for row, (text, wanted) in enumerate(zip(found, tokens, strict=True)):
        if text != [token for token in wanted.tolist() if token >= 0]:
            raise ConfigError(f'{framework.option}: the rival reads image {row} as {text}, '
                              f'not {wanted[wanted >= 0].tolist()}')
    return off


def loss(model: models.Model, variables: models.Variables, batch: dict[str, np.ndarray]) -> float:
    """Our loss in training, without dropout."""
    (total, count), _ = jax.jit(partial(model.loss, train=True))(variables, batch)
    return float(total / count if count else total)


def check_loss(framework: Framework, found: float, wanted: float) -> None:
    """Raise an error unless the rival has the same loss; its gradient then is ours, except for rounding."""
    if not abs(found - wanted) <= EQUAL * abs(wanted):
        raise ConfigError(f'{framework.option}: the loss of the rival in training is {found:.6g} '
                          f'instead of {wanted:.6g}')


def pixels(batch: Mapping[str, np.ndarray], config: ConfigDict) -> np.ndarray:
    """The images of a batch, normalised, [B, C, H, W]."""
    rule, size = config.image, batch['size'][:, :, None, None, None]
    mean, std = np.asarray(rule.mean, np.float32), np.asarray(rule.std, np.float32)
    values = (batch['image'] / np.float32(rule.scale) - mean) / std
    rows, columns = np.arange(values.shape[1])[:, None, None], np.arange(values.shape[2])[:, None]
    values = np.where((rows < size[:, 0]) & (columns < size[:, 1]), values, np.float32(rule.padding))
    return values.transpose(0, 3, 1, 2)


def _lively(model: models.Model) -> models.Variables:
    """Initial variables, with noise added to vectors and to constant arrays: scales of 1
    and weights of 0 would hide mistakes."""
    random = np.random.default_rng(0)

    def moved(leaf: Any) -> np.ndarray:
        values = np.asarray(leaf)
        if values.ndim > 1 and values.min() < values.max():
            return values
        most = 0.3 if values.ndim == 1 else 0.05
        return (values + random.uniform(-most, most, values.shape)).astype(np.float32)

    return jax.tree.map(moved, model.init(jax.random.key(0)))


def _smooth(config: ConfigDict) -> dict[str, np.ndarray]:
    """A batch of smooth images. On noise, a sampling grid that differs only by rounding
    would give visibly different samples."""
    batch, random = programs.random_batch(config, ROWS), np.random.default_rng(0)
    for image in batch['image']:
        height, width, channels = image.shape
        coarse = random.uniform(64, 192, (2, 4, channels)).astype(np.float32)
        image[:] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)
    # One text is as long as can be, so that the logits of all steps count.
    batch['tokens'][0], batch['length'][0] = 0, batch['tokens'].shape[1]
    return batch


def _difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite where the shapes differ."""
    return float(np.abs(got - want).max() / np.abs(want).max()) if got.shape == want.shape else float('inf')
