"""LaTeX-OCR in PyTorch; `recog/models/latex_ocr.py` names the reference, whose names the modules have. Keys
and values are kept from step to step."""

from functools import partial

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from recog.bench.pytorch.attention import projected
from recog.bench.pytorch.texts import Found, greedy
from recog.models.backbones.resnet34 import STRIDE

FIELDS = {'model.row_lstm': (True, False)}  # values that it supports; sizes are free
START, END, OFFSET = 1, 2, 3  # classes; a class is a vocabulary id + 3, and class 0 is padding
COLOURS = 3  # channels that the backbone reads, also of a grey image
TEMPERATURE = 10_000.0


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, which has a convolution where the size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                            nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(inside)) + self.downsample(x), inplace=True)


def resnet(depths: tuple[int, int], widths: tuple[int, int]) -> nn.Sequential:
    """[B, 3, H, W] -> [B, D, H/8, W/8]."""
    (first, second), (narrow, wide) = depths, widths
    return nn.Sequential(
        nn.Conv2d(COLOURS, narrow, 7, 2, 3, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1), nn.Sequential(*(Block(narrow, narrow, 1) for _ in range(first))),
        nn.Sequential(*(Block(wide if block else narrow, wide, 1 if block else 2)
                        for block in range(second))))


def positions(height: int, width: int, channels: int) -> torch.Tensor:
    """Sinusoidal positions [D, h, w]: half of the channels encodes the column, half the row."""
    depth = channels // 2
    number = torch.arange(depth)
    rates = TEMPERATURE ** (-(number // 2 * 2) / depth)

    def waves(count: int) -> torch.Tensor:
        angles = rates[:, None] * torch.arange(count)
        return torch.where(number[:, None] % 2 == 0, angles.sin(), angles.cos())

    shape = depth, height, width
    return torch.cat([waves(width)[:, None].expand(shape), waves(height)[..., None].expand(shape)])


class Encoder(nn.Module):
    """Images [B, C, H, W] to a memory [B, h w, D]."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule, image = config.model, config.image
        self.backbone = resnet(rule.depths, rule.widths)
        self.project = nn.Conv2d(rule.widths[1], rule.width, 1)
        self.row_encoder = None
        if rule.row_lstm:
            self.row_encoder = nn.LSTM(rule.width, rule.width // 2, batch_first=True, bidirectional=True)
        table = positions(image.height // STRIDE, image.width // STRIDE, rule.width)
        self.register_buffer('table', table, persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.project(self.backbone(image.expand(-1, COLOURS, -1, -1))) + self.table
        cells = maps.permute(0, 2, 3, 1)
        if self.row_encoder is not None:
            cells = self.row_encoder(cells.flatten(0, 1))[0]
        return cells.reshape(len(image), -1, maps.shape[1])


class Decoder(nn.Module):
    """From a memory and the classes so far to logits of the next class."""

    def __init__(self, rule: ConfigDict, classes: int):
        super().__init__()
        layer = nn.TransformerDecoderLayer(rule.width, rule.heads, rule.feed_forward, rule.dropout,
                                           batch_first=True)
        self.transformer_decoder = nn.TransformerDecoder(layer, rule.layers)
        self.token_embedding = nn.Embedding(classes, rule.width)
        self.pos_embedding = nn.Parameter(torch.zeros(1, rule.positions, rule.width))
        self.output_layer = nn.Linear(rule.width, classes)

    def forward(self, memory: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Logits [B, S, K] of the class that follows each of the classes [B, S]."""
        length = classes.shape[1]
        x = self.token_embedding(classes) + self.pos_embedding[:, :length]
        later = nn.Transformer.generate_square_subsequent_mask(length)
        return self.output_layer(self.transformer_decoder(x, memory, later, tgt_is_causal=True))

    def step(self, memories: list[list[torch.Tensor]], cache: list[list[torch.Tensor]], last: torch.Tensor,
             number: int) -> torch.Tensor:
        """Logits [B, K] of the class that follows the class `last` [B] at place `number`; each layer's cache
        [B, N, T, D / N] of keys and values gets those of this place."""
        x = (self.token_embedding(last) + self.pos_embedding[0, number])[:, None]
        for layer, memory, own in zip(self.transformer_decoder.layers, memories, cache, strict=True):
            query, *new = projected(layer.self_attn, x, 0, 3)
            for kept, each in zip(own, new, strict=True):
                kept[:, :, number:number + 1] = each
            x = layer.norm1(x + attended(layer.self_attn, query, [kept[:, :, :number + 1] for kept in own]))
            query, = projected(layer.multihead_attn, x, 0, 1)
            x = layer.norm2(x + attended(layer.multihead_attn, query, memory))
            x = layer.norm3(x + layer.linear2(F.relu(layer.linear1(x))))
        return self.output_layer(x)[:, 0]


def attended(part: nn.MultiheadAttention, query: torch.Tensor, known: list[torch.Tensor]) -> torch.Tensor:
    """Attention [B, S, D] to known keys and values [B, N, T, D / N]."""
    result: torch.Tensor = part.out_proj(
        F.scaled_dot_product_attention(query, *known).transpose(1, 2).flatten(2))
    return result


class LatexOcr(nn.Module):
    """Images [B, C, H, W] and tokens [B, L] to the logits [B, L + 1, 3 + V] of each token and the end."""

    taught = True

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        rule = config.model
        self.capacity, self.heads, self.smoothing = rule.capacity, rule.heads, rule.smoothing
        self.encoder, self.decoder = Encoder(config), Decoder(rule, tokens + OFFSET)
        written = (torch.arange(tokens + OFFSET) >= END).float()
        self.register_buffer('written', written, persistent=False)

    def forward(self, image: torch.Tensor, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(image), F.pad(wanted(tokens, length)[:, :-1], (1, 0), value=START))

    def loss(self, image: torch.Tensor, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        place = torch.arange(tokens.shape[1] + 1, device=tokens.device)
        classes = wanted(tokens, length).masked_fill(place > length[:, None], 0)
        return F.cross_entropy(self(image, tokens, length).transpose(1, 2), classes, ignore_index=0,
                               label_smoothing=self.smoothing)

    def found(self, image: torch.Tensor, most: int) -> Found:
        """The steps of greedy decoding, at most `most`, until all texts have ended."""
        memory = self.encoder(image)
        memories = [projected(layer.multihead_attn, memory, 1, 3)
                    for layer in self.decoder.transformer_decoder.layers]
        rows, _, width = memory.shape
        steps = min(most, self.capacity)
        cache = [[memory.new_empty(rows, self.heads, steps, width // self.heads) for _ in range(2)]
                 for _ in memories]
        last = torch.full((rows,), START, device=image.device)
        return greedy(partial(self.decoder.step, memories, cache), last, self.written, END, OFFSET, steps)


def wanted(tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """The class [B, L + 1] of each step: the label, then ends."""
    inside = torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]
    return F.pad(torch.where(inside, tokens + OFFSET, END), (0, 1), value=END)


build = LatexOcr
