"""Whether a recipe's network and its rival in PyTorch are the same function, given the same weights."""

import copy
from functools import partial
from typing import Any

import cv2
import jax
import numpy as np
import torch
from ml_collections import ConfigDict

from recog import models
from recog.bench import programs
from recog.devices import cost
from recog.errors import ConfigError

ROWS = 4
EQUAL = 1e-4  # relative to the largest value
# Parts of names: in our rivals, and in the published checkpoints, which `Model.peers` knows.
NAMES = {'features.backbone': 'backbone', 'features.lstm': 'neck.encoder.lstm', 'running_mean': '_mean',
         'running_var': '_variance'}


def published(name: str) -> str:
    """The name in published checkpoints of an array of a rival."""
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


def load(rival: torch.nn.Module, model: models.Model, variables: models.Variables) -> None:
    """Fill the rival with our variables."""
    leaves, state = models.flatten(variables), {}
    products = {f'{name}.weight' for name, module in rival.named_modules()
                if isinstance(module, torch.nn.Linear)}
    for name in rival.state_dict():
        if name.endswith('num_batches_tracked'):
            continue
        peer = model.peers.get(published(name))
        if peer is None:
            raise ConfigError(f'--pytorch: the rival has {name}, which is none of the names of '
                              'the checkpoint')
        array, axes = np.asarray(leaves[peer.path]), models.TURNS[peer.turn]
        array = array if axes is None else array.transpose(np.argsort(axes))
        # Linear weights are [in, out] in the published checkpoints, [out, in] in PyTorch.
        state[name] = torch.tensor(np.ascontiguousarray(array.T if name in products else array))
    try:
        rival.load_state_dict(state, strict=False)
    except RuntimeError as error:  # sizes that differ
        reason = ' '.join(str(error).split())
        raise ConfigError(f'--pytorch: the rival is another network: {reason}') from None


def check(model: models.Model, rival: Any, config: ConfigDict) -> float:
    """Raise an error unless numbers of parameters, logits and texts are equal; returns
    the largest difference of the logits."""
    rival = copy.deepcopy(rival)
    ours = cost.parameters(jax.eval_shape(model.init, jax.random.key(0))['params'])
    theirs = sum(each.numel() for each in rival.parameters() if each.requires_grad)
    if ours != theirs:
        raise ConfigError(f'--pytorch: the rival has {theirs:,} trainable parameters instead of {ours:,}')
    variables = _lively(model)
    load(rival, model, variables)
    batch, longest = _smooth(config), config.text.max_length
    run = jax.jit(lambda variables, batch: (model.apply(variables, batch)[0]['head'],
                                            model.decode(variables, batch['image'], batch['size'],
                                                         longest)['tokens'][:, 0]))
    logits, tokens = jax.tree.map(np.asarray, run(variables,
                                                  {name: batch[name] for name in ('image', 'size')}))
    rival.eval()
    with torch.inference_mode():
        image = pixels(batch, config)
        off = _difference(rival(image).numpy(), logits)
        read = rival.read(image, longest)[0]
    if not off < EQUAL:
        raise ConfigError(f'--pytorch: logits of the rival differ by {off:.1e} of the largest, more '
                          f'than {EQUAL:.0e}')
    for row, (text, wanted) in enumerate(zip(read, tokens, strict=True)):
        if text != [token for token in wanted.tolist() if token >= 0]:
            raise ConfigError(f'--pytorch: the rival reads image {row} as {text}, '
                              f'not {wanted[wanted >= 0].tolist()}')
    return off


def loss(model: models.Model, variables: models.Variables, batch: dict[str, np.ndarray]) -> float:
    """Our loss in training, without dropout."""
    (total, count), _ = jax.jit(partial(model.loss, train=True))(variables, batch)
    return float(total / count if count else total)


def check_loss(rival: torch.nn.Module, given: tuple[torch.Tensor, ...], wanted: float) -> None:
    """Raise an error unless the rival has the same loss; its gradient then is ours, except for rounding."""
    quiet = copy.deepcopy(rival)
    for module in quiet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        found = quiet.loss(*given).item()
    if not abs(found - wanted) <= EQUAL * abs(wanted):
        raise ConfigError(f'--pytorch: the loss of the rival in training is {found:.6g} '
                          f'instead of {wanted:.6g}')


def pixels(batch: dict[str, np.ndarray], config: ConfigDict,
           layout: Any = torch.contiguous_format) -> torch.Tensor:
    """The images of a batch, normalised, [B, C, H, W]."""
    rule = config.image
    mean, std = np.asarray(rule.mean, np.float32), np.asarray(rule.std, np.float32)
    values = (batch['image'] / np.float32(rule.scale) - mean) / std
    return torch.tensor(values).permute(0, 3, 1, 2).contiguous(memory_format=layout)


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
    return batch


def _difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite where the shapes differ."""
    return float(np.abs(got - want).max() / np.abs(want).max()) if got.shape == want.shape else float('inf')
