"""SVTRv2 in PyTorch, with the head RCTC; `recog/models/svtrv2.py` names the paper. Modules are named as in
the published checkpoints."""

from typing import Any

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from recog.bench.pytorch.ctc import CTC
from recog.images import fit
from recog.models.backbones.mixers import DOWN, EPSILON, EXPANDED

FIELDS = {'model.pool': ('attend',)}  # values that it supports; sizes are free


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, EXPANDED * width), nn.Linear(EXPANDED * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Attention(nn.Module):
    """Self-attention over [B, T, D]."""

    def __init__(self, width: int, heads: int, biased: bool = True):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width, biased), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, width = x.shape
        joint = self.qkv(x).view(rows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*joint.unbind(0))
        return self.proj(mixed.transpose(1, 2).reshape(rows, length, width))


class Block(nn.Module):
    """Local or global mixing of a map [B, D, H, W], then a feed-forward layer; norms after the sums."""

    def __init__(self, width: int, heads: int, local: bool, rate: float):
        super().__init__()
        self.local = local
        self.mixer: nn.Module = nn.Sequential(*(
            nn.Conv2d(width, width, 3, 1, 1, groups=heads) for _ in range(2))) if local else Attention(
            width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.mlp, self.depth = Mlp(width), nn.Dropout(rate)

    def _skipped(self, x: torch.Tensor) -> torch.Tensor:
        """Stochastic depth: whole images go without a branch."""
        return x * self.depth(x.new_ones(len(x), 1, 1)) if self.training else x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[2:]
        places = x.flatten(2).transpose(1, 2)
        mixed = self.mixer(x).flatten(2).transpose(1, 2) if self.local else self.mixer(places)
        places = self.norm1(places + self._skipped(mixed))
        places = self.norm2(places + self._skipped(self.mlp(places)))
        return places.transpose(1, 2).unflatten(2, size)


class Down(nn.Module):
    """A convolution and a layer norm over the channels."""

    def __init__(self, inputs: int, outputs: int, strides: tuple[int, int]):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, 3, strides, 1), nn.LayerNorm(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stem(nn.Module):
    """A convolution of stride 2, batch norm and GELU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.norm(self.conv(x)))


def encoder(rule: Any, channels: int) -> nn.ModuleDict:
    """The modules of the encoder, under their published names."""
    widths, total, done = rule.widths, sum(rule.blocks), 0
    stages = []
    for stage, (width, count, local) in enumerate(zip(widths, rule.blocks, rule.local, strict=True)):
        blocks: list[nn.Module] = []
        for number in range(count):
            if number == local and number:
                blocks.append(nn.Identity())  # the reference counts a module without parameters here
            rate = rule.stochastic_depth * done / max(total - 1, 1)
            blocks.append(Block(width, width // rule.head_width, number < local, rate))
            done += 1
        parts: dict[str, nn.Module] = {'blocks': nn.Sequential(*blocks)}
        if stage < len(DOWN):
            parts['downsample'] = Down(width, widths[stage + 1], DOWN[stage])
        stages.append(nn.ModuleDict(parts))
    stem = nn.Sequential(Stem(channels, widths[0] // 2), Stem(widths[0] // 2, widths[0]))
    return nn.ModuleDict({'pope': nn.ModuleDict({'patch_embed': stem}), 'stages': nn.ModuleList(stages)})


class Rows(nn.Module):
    """A transformer block along each row of a map; norms before the branches."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads, False), Mlp(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """From a map [B, D, h, w] to logits [B, w, classes]."""

    def __init__(self, width: int, heads: int, classes: int):
        super().__init__()
        self.w_atten_block, self.fc_kv = Rows(width, heads), nn.Linear(width, 2 * width)
        self.char_token = nn.Parameter(torch.zeros(1, 1, width))
        self.fc = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, width, height, columns = x.shape
        x = x.permute(0, 2, 3, 1).reshape(rows * height, columns, width)
        keys, values = self.fc_kv(self.w_atten_block(x)).view(rows, height, columns, 2 * width).chunk(2, -1)
        weights = (keys @ self.char_token[0, 0]).softmax(1)
        return self.fc((weights[..., None] * values).sum(1))


class SVTRv2(CTC):
    """Images [B, C, H, W] to logits [B, W / 4, 1 + V]."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        rule = config.model
        self.encoder = encoder(rule, fit.channels(config.image))
        width = rule.widths[-1]
        self.decoder = Decoder(width, width // rule.head_width, tokens + 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.encoder['pope']['patch_embed'](image)
        for stage in self.encoder['stages']:
            x = stage['blocks'](x)
            x = stage['downsample'](x) if 'downsample' in stage else x
        return self.decoder(x)


build = SVTRv2
