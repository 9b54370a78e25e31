"""What networks with CTC share in PyTorch: the loss, and reading by the best path."""

import torch
import torch.nn.functional as F
from torch import nn

from recog.bench.pytorch.texts import Found


class CTC(nn.Module):
    """A network from images to logits [B, T, 1 + V]; class 0 is the blank."""

    def loss(self, image: torch.Tensor, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        frames = self(image).log_softmax(-1).transpose(0, 1)
        times = torch.full_like(length, len(frames))
        return F.ctc_loss(frames, tokens + 1, times, length, reduction='none', zero_infinity=True).mean()

    def found(self, image: torch.Tensor, most: int) -> Found:
        """The best path."""
        probability, best = self(image).softmax(-1).max(-1)
        kept = (best != 0) & (best != F.pad(best, (1, 0))[:, :-1])
        return best - 1, probability, kept
