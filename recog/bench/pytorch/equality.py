"""Whether a recipe's network and its rival in PyTorch are the same function, given the same weights."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import cv2
import jax
import numpy as np
import torch
from ml_collections import ConfigDict

from recog import models
from recog.bench import programs
from recog.bench.pytorch.texts import read
from recog.devices import cost
from recog.errors import ConfigError

ROWS = 4
EQUAL = 1e-4  # relative to the largest value
# Parts of names: in our rivals, and in the published checkpoints, which `Model.peers` knows.
NAMES = {'features.backbone': 'backbone', 'features.lstm': 'neck.encoder.lstm', 'running_mean': '_mean',
         'running_var': '_variance'}


def published(name: str, peers: Mapping[str, models.Peer]) -> str:
    """The name in published checkpoints, those of the peers, of an array of a rival."""
    if name in peers:
        return name
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
        peer = model.peers.get(published(name, model.peers))
        if peer is None:
            raise ConfigError(f'--pytorch: the rival has {name}, which is none of the names of '
                              'the checkpoint')
        array, axes = np.asarray(leaves[peer.path]), models.TURNS[peer.turn]
        # Linear weights are [in, out] here and [out, in] in PyTorch, whatever published checkpoints have.
        if name in products:
            array = array.T
        elif axes is not None:
            array = array.transpose(np.argsort(axes))
        state[name] = torch.tensor(np.ascontiguousarray(array))
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
    if is_sized(rival):  # half of a canvas is padding
        batch['size'][-1, 1] //= 2
    run = jax.jit(lambda variables, batch: (model.apply(variables, batch)[0]['head'],
                                            model.decode(variables, batch['image'], batch['size'],
                                                         longest)['tokens'][:, 0]))
    seen = ('image', 'size', *(('tokens', 'length', 'weight') if is_taught(rival) else ()))
    logits, tokens = jax.tree.map(np.asarray, run(variables, {name: batch[name] for name in seen}))
    rival.eval()
    images = given(rival, batch, config)
    with torch.inference_mode():
        off = _difference(rival(*images, *(labels(batch) if is_taught(rival) else ())).numpy(), logits)
    found = read(partial(rival.found, most=longest), images, longest)[0]
    if not off < EQUAL:
        raise ConfigError(f'--pytorch: logits of the rival differ by {off:.1e} of the largest, more '
                          f'than {EQUAL:.0e}')
    for row, (text, wanted) in enumerate(zip(found, tokens, strict=True)):
        if text != [token for token in wanted.tolist() if token >= 0]:
            raise ConfigError(f'--pytorch: the rival reads image {row} as {text}, '
                              f'not {wanted[wanted >= 0].tolist()}')
    return off


def is_sized(rival: torch.nn.Module) -> bool:
    """Whether the rival asks for the sizes of images, because it masks their padding."""
    return getattr(rival, 'sized', False)


def is_taught(rival: torch.nn.Module) -> bool:
    """Whether the rival computes logits only of given texts."""
    return getattr(rival, 'taught', False)


def given(rival: torch.nn.Module, batch: Mapping[str, np.ndarray], config: ConfigDict,
          layout: Any = torch.contiguous_format) -> tuple[torch.Tensor, ...]:
    """What the rival reads of a batch: the images and, if it asks for them, their sizes."""
    image = pixels(batch, config, layout)
    return (image, torch.tensor(batch['size'], dtype=torch.long)) if is_sized(rival) else (image,)


def labels(batch: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens and lengths of the texts of a batch."""
    tokens, length = (torch.tensor(batch[name], dtype=torch.long) for name in ('tokens', 'length'))
    return tokens, length


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
        elif isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    with torch.no_grad():
        found = quiet.loss(*given).item()
    if not abs(found - wanted) <= EQUAL * abs(wanted):
        raise ConfigError(f'--pytorch: the loss of the rival in training is {found:.6g} '
                          f'instead of {wanted:.6g}')


def pixels(batch: Mapping[str, np.ndarray], config: ConfigDict,
           layout: Any = torch.contiguous_format) -> torch.Tensor:
    """The images of a batch, normalised, [B, C, H, W]."""
    rule, size = config.image, batch['size'][:, :, None, None, None]
    mean, std = np.asarray(rule.mean, np.float32), np.asarray(rule.std, np.float32)
    values = (batch['image'] / np.float32(rule.scale) - mean) / std
    rows, columns = np.arange(values.shape[1])[:, None, None], np.arange(values.shape[2])[:, None]
    values = np.where((rows < size[:, 0]) & (columns < size[:, 1]), values, np.float32(rule.padding))
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
    # One text is as long as can be, so that the logits of all steps count.
    batch['tokens'][0], batch['length'][0] = 0, batch['tokens'].shape[1]
    return batch


def _difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite where the shapes differ."""
    return float(np.abs(got - want).max() / np.abs(want).max()) if got.shape == want.shape else float('inf')
