"""The projections of attention, of which decoding keeps keys and values from step to step."""

import torch
import torch.nn.functional as F
from torch import nn


def projected(part: nn.MultiheadAttention, x: torch.Tensor, first: int, last: int) -> list[torch.Tensor]:
    """Those of queries, keys and values from number `first` to before `last`, [B, N, T, D / N] each."""
    width, heads = part.embed_dim, part.num_heads
    rows = slice(first * width, last * width)
    inside = F.linear(x, part.in_proj_weight[rows], part.in_proj_bias[rows])
    return [each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in inside.chunk(last - first, -1)]
