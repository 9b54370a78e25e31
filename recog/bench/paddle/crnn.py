"""CRNN in Paddle; `recog/models/crnn.py` names the paper."""

import paddle
import paddle.nn.functional as F
from ml_collections import ConfigDict
from paddle import nn

from recog.bench.paddle.backbones import Features
from recog.bench.paddle.texts import Found

FIELDS = {'model.backbone': ('resnet34_vd', 'mobilenet_v3')}  # values that it supports; sizes are free


class CRNN(nn.Layer):
    """Images [B, C, 32, W] to logits [B, T, 1 + V]; class 0 is the blank."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        self.features = Features(config)
        self.head = nn.LayerDict({'fc': nn.Linear(self.features.width, tokens + 1)})

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        return self.head['fc'](self.features(image))

    def loss(self, image: paddle.Tensor, tokens: paddle.Tensor, length: paddle.Tensor) -> paddle.Tensor:
        frames = self(image).transpose([1, 0, 2])  # ctc_loss has the softmax inside
        times = paddle.full_like(length, len(frames))
        return F.ctc_loss(frames, (tokens + 1).astype('int32'), times, length, reduction='none').mean()

    def found(self, image: paddle.Tensor, most: int) -> Found:
        """The best path."""
        probability = F.softmax(self(image), -1)
        best = probability.argmax(-1)
        before = paddle.concat([paddle.zeros_like(best[:, :1]), best[:, :-1]], 1)
        return best - 1, probability.max(-1), (best != 0) & (best != before)


build = CRNN
