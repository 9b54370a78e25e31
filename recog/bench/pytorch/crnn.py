"""CRNN in PyTorch; `recog/models/crnn.py` names the paper."""

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from recog.bench.pytorch.backbones import Features
from recog.bench.pytorch.texts import Found

FIELDS = {'model.backbone': ('resnet34_vd', 'mobilenet_v3')}  # values that it supports; sizes are free


class CRNN(nn.Module):
    """Images [B, C, 32, W] to logits [B, T, 1 + V]; class 0 is the blank."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        self.features = Features(config)
        self.head = nn.ModuleDict({'fc': nn.Linear(self.features.width, tokens + 1)})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head['fc'](self.features(image))

    def loss(self, image: torch.Tensor, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        frames = self(image).log_softmax(-1).transpose(0, 1)
        times = torch.full_like(length, len(frames))
        return F.ctc_loss(frames, tokens + 1, times, length, reduction='none', zero_infinity=True).mean()

    def found(self, image: torch.Tensor, most: int) -> Found:
        """The best path."""
        probability, best = self(image).softmax(-1).max(-1)
        kept = (best != 0) & (best != F.pad(best, (1, 0))[:, :-1])
        return best - 1, probability, kept


build = CRNN
