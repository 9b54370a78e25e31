"""The layers of ResNet34 up to its second stage, [B, H, W, C] -> [B, H/8, W/8, D]: He et al., "Deep Residual
Learning for Image Recognition" (2015), Table 1, in the form of torchvision, whose weights can be read from a
file. `PEERS` has torchvision's names; initial values and running variances are PyTorch's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from recog.errors import ConfigError
from recog.models import TURNS, flatten, unflatten
from recog.models.parts.convolutions import Pair
from recog.models.parts.layers import BatchNorm, Context, Conv, normal
from recog.models.parts.pooling import max_pool
from recog.models.peers import PYTORCH, renamed

STRIDE = 8
ADDRESS = 'https://download.pytorch.org/models/resnet34-b627a593.pth'


def conv(features: int, size: int, stride: int, name: str) -> Conv:
    """A convolution with torchvision's initial values, scaled by the fan-out;
    called inside a module's `compact`."""
    start = normal((2 / (features * size * size)) ** 0.5)
    return Conv(features, (size, size), (stride, stride), start=start, name=name)


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, which has a convolution where the size changes."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        inside = conv(self.features, 3, self.stride, 'conv_1')(x)
        inside = jax.nn.relu(BatchNorm(True, name='norm_1')(inside, context))
        inside = BatchNorm(True, name='norm_2')(conv(self.features, 3, 1, 'conv_2')(inside), context)
        if self.stride > 1 or x.shape[-1] != self.features:
            x = conv(self.features, 1, self.stride, 'shortcut')(x)
            x = BatchNorm(True, name='shortcut_norm')(x, context)
        return jax.nn.relu(inside + x)


class Stage(nn.Module):
    """A sequence of blocks; the first has the stride."""

    depth: int
    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        for block in range(self.depth):
            x = Block(self.features, self.stride if block == 0 else 1, name=f'block_{block}')(x, context)
        return x


class ResNet34(nn.Module):
    """A 7 x 7 convolution, a max pool and two stages of blocks."""

    depths: Pair = (3, 4)
    widths: Pair = (64, 128)

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = conv(self.widths[0], 7, 2, 'conv')(x)
        x = max_pool(jax.nn.relu(BatchNorm(True, name='norm')(x, context)), (3, 3), strides=(2, 2), padding=1)
        x = Stage(self.depths[0], self.widths[0], 1, name='stage_1')(x, context)
        return Stage(self.depths[1], self.widths[1], 2, name='stage_2')(x, context)


# Our names (regular expressions, by their path below the backbone) and torchvision's.
PEERS: Mapping[str, str] = {
    r'^conv/': 'conv1/',
    r'^norm/': 'bn1/',
    r'^stage_(\d)/block_(\d+)/': r'layer\1/\2/',
    r'/conv_(\d)/': r'/conv\1/',
    r'/norm_(\d)/': r'/bn\1/',
    r'/shortcut/': '/downsample/0/',
    r'/shortcut_norm/': '/downsample/1/',
    **PYTORCH,
}


def peer_key(path: tuple[str, ...]) -> str:
    """torchvision's key for the variable at `path` within the backbone."""
    return renamed(path, PEERS)


def pretrained(file: str, shapes: Any) -> dict[str, Any]:
    """The backbone's variables from torchvision's file resnet34-*.pth,
    for a model whose variables have these shapes."""
    from recog.weights.files import read_weights

    if not Path(file).is_file():
        raise ConfigError(
            f'config.model.pretrained={file!r} is no file: fetch {ADDRESS}, or train from scratch with '
            "--config.model.pretrained=''")
    state, found, field = read_weights(file), {}, f'config.model.pretrained={file!r}'
    for path, leaf in flatten(shapes).items():
        if path[1] != 'backbone':
            continue
        key, axes = peer_key(path[2:]), TURNS['conv' if path[-1] == 'kernel' else 'same']
        if key not in state:
            raise ConfigError(f'{field} has no {key}, which a ResNet34 of torchvision has')
        array = np.asarray(state[key], np.float32)
        array = array if axes is None or array.ndim != len(axes) else array.transpose(axes)
        if array.shape != leaf.shape:
            raise ConfigError(f'{field}: {key} of {state[key].shape} does not fit this backbone')
        found[path] = array
    return unflatten(found)
