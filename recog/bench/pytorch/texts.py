"""From the token at each position to texts."""

import torch


def texts(
    tokens: torch.Tensor, probability: torch.Tensor, kept: torch.Tensor, most: int
) -> tuple[list[list[int]], torch.Tensor]:
    """The first `most` of the kept tokens of each row of [B, T], and their mean probability [B]."""
    kept = kept & (kept.cumsum(1) <= most)
    found = [row[mask].tolist() for row, mask in zip(tokens, kept, strict=True)]
    return found, (probability * kept).sum(1) / kept.sum(1).clamp(min=1)
