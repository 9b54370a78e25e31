"""CRNN in PyTorch; `recog/models/crnn.py` names the paper."""

import torch
from ml_collections import ConfigDict
from torch import nn

from recog.bench.pytorch.backbones import Features
from recog.bench.pytorch.ctc import CTC

FIELDS = {'model.backbone': ('resnet34_vd', 'mobilenet_v3')}  # values that it supports; sizes are free


class CRNN(CTC):
    """Images [B, C, 32, W] to logits [B, T, 1 + V]."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        self.features = Features(config)
        self.head = nn.ModuleDict({'fc': nn.Linear(self.features.width, tokens + 1)})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head['fc'](self.features(image))


build = CRNN
