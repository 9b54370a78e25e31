"""ResNet34_vd, MobileNetV3 and the BiLSTM in Paddle; layers are named as in the published checkpoints."""

from typing import Any

import paddle
import paddle.nn.functional as F
from ml_collections import ConfigDict
from paddle import nn

from recog.images import fit
from recog.models.backbones.text_lines import MOBILENET, Row, scaled

Pair = tuple[int, int]
UNDERLINED = ('_conv', '_batch_norm')  # names of ResNet's parts


def conv_norm(
    inputs: int, outputs: int, size: int = 3, stride: int | Pair = 1, *, groups: int = 1,
    activation: Any = nn.ReLU, names: tuple[str, str] = ('conv', 'bn'),
) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, batch norm and an activation."""
    conv = nn.Conv2D(inputs, outputs, size, stride, size // 2, groups=groups, bias_attr=False)
    parts = [(names[0], conv), (names[1], nn.BatchNorm2D(outputs))]
    return nn.Sequential(*parts, *([] if activation is None else [('activation', activation())]))


class Block(nn.Layer):
    """Two convolutions and a shortcut, which averages before its 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: Pair, project: bool):
        super().__init__()
        self.conv0 = conv_norm(inputs, outputs, stride=stride, names=UNDERLINED)
        self.conv1 = conv_norm(outputs, outputs, activation=None, names=UNDERLINED)
        self.pool = nn.Identity() if stride == (1, 1) else nn.AvgPool2D(stride)
        self.short = conv_norm(inputs, outputs, 1, activation=None,
                               names=UNDERLINED) if project else nn.Identity()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.relu(self.conv1(self.conv0(x)) + self.short(self.pool(x)))


def resnet34_vd(channels: int) -> nn.Sequential:
    """[B, C, 32, W] -> [B, 512, 1, W/4]."""
    parts: list[tuple[str, nn.Layer]] = [
        (f'conv1_{number}', conv_norm(inputs, outputs, names=UNDERLINED))
        for number, (inputs, outputs) in enumerate(((channels, 32), (32, 32), (32, 64)), 1)]
    parts.append(('pool', nn.MaxPool2D(3, 2, 1)))
    inputs = 64
    for stage, (outputs, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            stride = (2, 1) if stage and not block else (1, 1)
            parts.append((f'bb_{stage}_{block}', Block(inputs, outputs, stride, not block)))
            inputs = outputs
    return nn.Sequential(*parts, ('out_pool', nn.MaxPool2D(2)))


class Squeeze(nn.Layer):
    """Squeeze and excitation with a hard sigmoid of slope 0.2."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2D(channels, channels // 4, 1)
        self.conv2 = nn.Conv2D(channels // 4, channels, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        pooled = self.conv2(F.relu(self.conv1(F.adaptive_avg_pool2d(x, 1))))
        return x * F.hardsigmoid(pooled, slope=0.2, offset=0.5)


class MobileBlock(nn.Layer):
    """Expansion, depthwise convolution, squeeze, and a linear projection."""

    def __init__(self, inputs: int, row: Row, scale: float):
        super().__init__()
        expanded, outputs = scaled(row.expanded, scale), scaled(row.features, scale)
        activation = nn.Hardswish if row.swish else nn.ReLU
        self.expand_conv = conv_norm(inputs, expanded, 1, activation=activation)
        self.bottleneck_conv = conv_norm(expanded, expanded, row.size, row.strides, groups=expanded,
                                         activation=activation)
        self.mid_se = Squeeze(expanded) if row.squeeze else nn.Identity()
        self.linear_conv = conv_norm(expanded, outputs, 1, activation=None)
        self.residual = row.strides == (1, 1) and inputs == outputs

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        inside = self.linear_conv(self.mid_se(self.bottleneck_conv(self.expand_conv(x))))
        return x + inside if self.residual else inside


def mobilenet_v3(channels: int, scale: float) -> nn.Sequential:
    """[B, C, 32, W] -> [B, D, 1, W/4]."""
    widths = [scaled(16, scale), *(scaled(row.features, scale) for row in MOBILENET)]
    blocks = [MobileBlock(inputs, row, scale) for inputs, row in zip(widths, MOBILENET, strict=False)]
    return nn.Sequential(
        ('conv1', conv_norm(channels, widths[0], 3, 2, activation=nn.Hardswish)),
        ('blocks', nn.Sequential(*blocks)),
        ('conv2', conv_norm(widths[-1], scaled(960, scale), 1, activation=nn.Hardswish)),
        ('pool', nn.MaxPool2D(2)))


class Features(nn.Layer):
    """The backbone and the LSTMs over its columns: [B, C, 32, W] -> [B, T, D], and D as `width`."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule, channels = config.model, fit.channels(config.image)
        mobile = rule.backbone == 'mobilenet_v3'
        self.backbone = mobilenet_v3(channels, rule.mobilenet_scale) if mobile else resnet34_vd(channels)
        self.width = scaled(960, rule.mobilenet_scale) if mobile else 512
        self.lstm = None
        if rule.lstm_layers:
            self.lstm = nn.LSTM(self.width, rule.lstm_hidden, rule.lstm_layers, direction='bidirect')
            self.width = 2 * rule.lstm_hidden

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        columns = self.backbone(x).squeeze(2).transpose([0, 2, 1])
        return columns if self.lstm is None else self.lstm(columns)[0]
