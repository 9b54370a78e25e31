"""CAN in PyTorch; `recog/models/can.py` names the paper. Modules are named as in the published checkpoint.

Nothing is masked where every image fills its canvas. As in our decoder, the convolution of the past attention
and the matrix after it are folded, and all states of a training are computed before its attention, on which
they do not depend.
"""

import math
from typing import TypeAlias

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from recog.bench.pytorch.recurrence import GRUCell
from recog.bench.pytorch.texts import Found, greedy
from recog.images import fit
from recog.models.backbones.densenet import BLOCKS, STRIDE
from recog.text import vocabulary

FIELDS = {'model.masked': (True, False)}  # values that it supports; sizes are free
END, START, OFFSET = 0, 1, 2  # classes; a class is a vocabulary id + 2
REDUCTION = 16  # of the channel attention
STRUCTURE = frozenset('{}^_')  # tokens that are not counted
TEMPERATURE = 10_000.0

# The mask [B, 1, h, w] of cells inside the images; None if all are.
Cells: TypeAlias = 'torch.Tensor | None'


def inside(size: torch.Tensor, x: torch.Tensor, stride: int) -> Cells:
    """The cells of a map [B, C, h, w] that hold at least a part of images of `size` [B, 2]."""
    rows, columns = (torch.arange(x.shape[axis], device=x.device) * stride < size[:, axis - 2, None]
                     for axis in (2, 3))
    cells = rows[:, None, :, None] & columns[:, None, None]
    return None if bool(cells.all()) else cells


def masked(x: torch.Tensor, cells: Cells) -> torch.Tensor:
    """`x` with zeros outside the images."""
    return x if cells is None else x.masked_fill(~cells, 0)


class Norm(nn.BatchNorm2d):
    """Batch norm whose statistics in training leave out what is outside the images."""

    def forward(self, x: torch.Tensor, cells: Cells = None) -> torch.Tensor:
        if cells is None or not self.training:
            return super().forward(x)
        total, rate = cells.sum(), self.momentum
        mean = masked(x, cells).sum((0, 2, 3)) / total
        variance = masked((x - mean[:, None, None]).square(), cells).sum((0, 2, 3)) / total
        with torch.no_grad():
            self.running_mean.lerp_(mean, rate)
            self.running_var.lerp_(variance, rate)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]


class Layer(nn.Module):
    """A layer of a dense block: its input, and `growth` channels more."""

    def __init__(self, inputs: int, growth: int, dropout: float):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, 4 * growth, 1), Norm(4 * growth)
        self.conv2, self.bn2 = nn.Conv2d(4 * growth, growth, 3, padding=1), Norm(growth)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, cells: Cells) -> torch.Tensor:
        new = masked(self.dropout(F.relu(self.bn1(self.conv1(x), cells), inplace=True)), cells)
        new = masked(self.dropout(F.relu(self.bn2(self.conv2(new), cells), inplace=True)), cells)
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """Half of the channels, at half of the size."""

    def __init__(self, inputs: int, dropout: float):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, inputs // 2, 1, bias=False), Norm(inputs // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, cells: Cells) -> torch.Tensor:
        x = masked(self.dropout(F.relu(self.bn1(self.conv1(x), cells), inplace=True)), cells)
        if cells is None:
            return F.avg_pool2d(x, 2)
        return F.avg_pool2d(x, 2) / F.avg_pool2d(cells.to(x.dtype), 2).clamp(min=0.25)


class DenseNet(nn.Module):
    """Images [B, 1, H, W] to maps [B, D, H / 16, W / 16]; with sizes [B, 2], padding is masked everywhere."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule, width = config.model, config.model.stem
        self.blocks = rule.get('blocks', BLOCKS)
        self.stride, size, edge = (2, 7, 3) if self.blocks == BLOCKS else (4, 8, 2)
        self.conv1 = nn.Conv2d(fit.channels(config.image), width, size, self.stride, edge, bias=False)
        for block in range(1, self.blocks + 1):
            layers = [Layer(width + number * rule.growth, rule.growth, rule.dropout)
                      for number in range(rule.layers)]
            self.add_module(f'dense{block}', nn.ModuleList(layers))
            width += rule.layers * rule.growth
            if block < self.blocks:
                self.add_module(f'trans{block}', Transition(width, rule.dropout))
                width //= 2
        self.width = width

    def forward(self, image: torch.Tensor, size: torch.Tensor | None) -> torch.Tensor:
        def cells(x: torch.Tensor, stride: int) -> Cells:
            return None if size is None else inside(size, x, stride)

        x = F.relu(self.conv1(masked(image, cells(image, 1))), inplace=True)
        x = F.max_pool2d(masked(x, cells(x, self.stride)), 2)
        for block in range(1, self.blocks + 1):
            here = cells(x, self.stride << block)
            for layer in getattr(self, f'dense{block}'):
                x = layer(x, here)
            if block < self.blocks:
                x = getattr(self, f'trans{block}')(x, here)
        return x


class Counter(nn.Module):
    """Counts the symbols of each class at one scale: from features [B, D, h, w] to counts [B, K]."""

    def __init__(self, inputs: int, width: int, size: int, classes: int):
        super().__init__()
        self.trans_layer = nn.ModuleList([nn.Conv2d(inputs, width, size, padding=size // 2, bias=False),
                                          Norm(width)])
        self.channel_att = nn.ModuleDict({'fc': nn.Sequential(
            nn.Linear(width, width // REDUCTION), nn.ReLU(inplace=True), nn.Linear(width // REDUCTION, width),
            nn.Sigmoid())})
        self.pred_layer = nn.Sequential(nn.Conv2d(width, classes, 1, bias=False), nn.Sigmoid())

    def forward(self, features: torch.Tensor, cells: Cells, mask: bool) -> torch.Tensor:
        conv, norm = self.trans_layer
        hidden = cells if mask else None
        x = masked(norm(conv(features), hidden), hidden)
        mean = x.mean((2, 3)) if hidden is None else x.sum((2, 3)) / hidden.sum((2, 3)).clamp(min=1)
        maps = self.pred_layer(x * self.channel_att['fc'](mean)[:, :, None, None])
        return masked(maps, cells).sum((2, 3))


class Memory:
    """What is the same in every step: the features [B, h w, D] and their keys [B, h w, A], the mask [B, h w]
    of the cells inside the image or None, the counts' part of the output [B, 1, E], the folded kernel
    [n n, A] and the size of the maps."""

    def __init__(self, decoder: 'Decoder', maps: torch.Tensor, cells: Cells, counts: torch.Tensor | None):
        attention, self.size = decoder.word_attention, maps.shape[2:]
        self.features = maps.flatten(2).transpose(1, 2).contiguous()
        keys = decoder.encoder_feature_conv(maps) + positions(maps, cells, decoder.width)
        self.keys = keys.flatten(2).transpose(1, 2).contiguous()
        self.cells = None if cells is None else cells.flatten(1)
        self.counts = 0 if counts is None else decoder.counting_context_weight(counts)[:, None]
        self.kernel = (attention['attention_weight'].weight @ attention['attention_conv'].weight.flatten(1)).T

    def mean(self) -> torch.Tensor:
        """The mean of the features inside each image [B, D]."""
        if self.cells is None:
            return self.features.mean(1)
        return (self.features * self.cells[..., None]).sum(1) / self.cells.sum(1, keepdim=True).clamp(min=1)


def positions(maps: torch.Tensor, cells: Cells, width: int) -> torch.Tensor:
    """Sinusoidal positions [B, width, h, w] of each cell's row, then of its column, relative to the size of
    its own image."""
    depth = width // 2
    number = torch.arange(depth, device=maps.device)
    rates = TEMPERATURE ** (2 * (number // 2) / depth)
    shape, parts = (len(maps), depth, *maps.shape[2:]), []
    for axis in (2, 3):
        count = torch.tensor([maps.shape[axis]], device=maps.device) if cells is None else \
            cells.any(5 - axis)[:, 0].sum(1)
        places = torch.arange(1, maps.shape[axis] + 1, device=maps.device)
        angles = places / (count[:, None] + 1e-6) * 2 * math.pi
        angles = angles[:, None] / rates[:, None]
        waves = torch.where(number[:, None] % 2 == 0, angles.sin(), angles.cos())
        parts.append(waves.unsqueeze(5 - axis).expand(shape))
    return torch.cat(parts, 1)


class Decoder(nn.Module):
    """A GRU over tokens, attention with coverage, and the counts."""

    def __init__(self, rule: ConfigDict, inputs: int, classes: int):
        super().__init__()
        hidden, self.width, self.reach = rule.hidden, rule.attention, rule.coverage
        self.init_weight = nn.Linear(inputs, hidden)
        self.embedding = nn.Embedding(classes, hidden)
        self.word_input_gru = GRUCell(hidden, hidden)
        self.word_attention = nn.ModuleDict({
            'hidden_weight': nn.Linear(hidden, self.width),
            'attention_conv': nn.Conv2d(1, self.width, self.reach, padding=self.reach // 2, bias=False),
            'attention_weight': nn.Linear(self.width, self.width, bias=False),
            'alpha_convert': nn.Linear(self.width, 1)})
        self.encoder_feature_conv = nn.Conv2d(inputs, self.width, 1)
        self.word_state_weight, self.word_embedding_weight = (nn.Linear(hidden, hidden) for _ in range(2))
        self.word_context_weight = nn.Linear(inputs, hidden)
        if rule.counting:
            self.counting_context_weight = nn.Linear(classes, hidden)
        self.word_convert, self.dropout = nn.Linear(hidden, classes), nn.Dropout(rule.word_dropout)

    def weights(self, memory: Memory, query: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
        """Attention weights [B, h w] for queries [B, A] and the sum of the past weights [B, h w]."""
        around = F.unfold(coverage.unflatten(1, (1, *memory.size)), self.reach, padding=self.reach // 2)
        inner = torch.tanh(around.transpose(1, 2) @ memory.kernel + memory.keys + query[:, None])
        scores = self.word_attention['alpha_convert'](inner)[..., 0]
        return (scores if memory.cells is None else scores.masked_fill(~memory.cells, -1e30)).softmax(1)

    def classify(self, memory: Memory, hidden: torch.Tensor, embedded: torch.Tensor,
                 weights: torch.Tensor) -> torch.Tensor:
        """Logits [B, S, K] from states and embedded tokens [B, S, E] and attention weights [B, S, h w]."""
        total = self.word_state_weight(hidden) + self.word_embedding_weight(embedded)
        total = total + self.word_context_weight(weights @ memory.features) + memory.counts
        result: torch.Tensor = self.word_convert(self.dropout(total))
        return result

    def forward(self, memory: Memory, classes: torch.Tensor) -> torch.Tensor:
        """Logits [B, S, K] of the class that follows each of the classes [B, S]."""
        embedded, cell = self.embedding(classes), self.word_input_gru
        start = torch.tanh(self.init_weight(memory.mean()))
        parameters = [cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh]
        hidden = torch.gru(embedded, start[None], parameters, True, 1, 0.0, self.training, False, True)[0]
        queries, weights = self.word_attention['hidden_weight'](hidden), []
        coverage = torch.zeros_like(memory.keys[..., 0])
        for query in queries.unbind(1):
            weights.append(self.weights(memory, query, coverage))
            coverage = coverage + weights[-1]
        return self.classify(memory, hidden, embedded, torch.stack(weights, 1))


class CAN(nn.Module):
    """Images [B, 1, H, W], their sizes [B, 2] and tokens [B, L] to the logits [B, T, 2 + V] of as many steps
    as the longest text has, with its end."""

    sized = taught = True

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        rule, classes = config.model, tokens + OFFSET
        self.masked, self.capacity = rule.masked, rule.capacity
        self.backbone = DenseNet(config)
        names = [f'counting_decoder{number}' for number, _ in enumerate(rule.counting, 1)]
        counters = {name: Counter(self.backbone.width, rule.counting_width, scale, classes)
                    for name, scale in zip(names, rule.counting, strict=True)}
        self.counters = names
        self.head = nn.ModuleDict({**counters, 'decoder': Decoder(rule, self.backbone.width, classes)})
        named = vocabulary.from_config(config.text).tokens
        counted = torch.tensor([False] * OFFSET + [token not in STRUCTURE for token in named])
        self.register_buffer('counted', counted, persistent=False)
        self.register_buffer('written', (torch.arange(classes) != START).float(), persistent=False)

    def _memory(self, image: torch.Tensor, size: torch.Tensor,
                mask: bool) -> tuple[Memory, list[torch.Tensor]]:
        """The memory, and the counts [B, K] of each scale."""
        maps = self.backbone(image, size if mask else None)
        cells = inside(size, maps, STRIDE)
        counts = [self.head[name](maps, cells, mask) for name in self.counters]
        mean = torch.stack(counts).mean(0) if counts else None
        return Memory(self.head['decoder'], maps, cells, mean), counts

    def forward(self, image: torch.Tensor, size: torch.Tensor, tokens: torch.Tensor,
                length: torch.Tensor) -> torch.Tensor:
        memory, _ = self._memory(image, size, self.masked)
        result: torch.Tensor = self.head['decoder'](memory, given(wanted(tokens, length)))
        return result

    def loss(self, image: torch.Tensor, size: torch.Tensor, tokens: torch.Tensor,
             length: torch.Tensor) -> torch.Tensor:
        """The mean of all steps; without masks, a text has as many as the longest."""
        memory, counts = self._memory(image, size, self.masked)
        classes = wanted(tokens, length)
        steps = length + 1 if self.masked else torch.full_like(length, classes.shape[1])
        words = F.cross_entropy(self.head['decoder'](memory, given(classes)).transpose(1, 2), classes,
                                reduction='none')
        total = (words * (torch.arange(classes.shape[1], device=image.device) < steps[:, None])).sum(1)
        truth = F.one_hot(classes, len(self.counted)).sum(1) * self.counted
        counts = counts + [torch.stack(counts).mean(0)] if len(counts) > 1 else counts
        for each in counts:
            total = total + steps * F.smooth_l1_loss(each, truth.to(each.dtype), reduction='none').mean(1)
        return total.sum() / steps.sum()

    def found(self, image: torch.Tensor, size: torch.Tensor, most: int) -> Found:
        """The steps of greedy decoding, at most `most`, until all texts have ended. Each image is read as if
        it were alone."""
        (memory, _), decoder = self._memory(image, size, True), self.head['decoder']
        hidden = torch.tanh(decoder.init_weight(memory.mean()))
        coverage = torch.zeros_like(memory.keys[..., 0])

        def step(last: torch.Tensor, number: int) -> torch.Tensor:
            nonlocal hidden, coverage
            embedded = decoder.embedding(last)
            hidden = decoder.word_input_gru(embedded, hidden)
            weights = decoder.weights(memory, decoder.word_attention['hidden_weight'](hidden), coverage)
            coverage = coverage + weights
            logits: torch.Tensor = decoder.classify(memory, hidden[:, None], embedded[:, None],
                                                    weights[:, None])
            return logits[:, 0]

        last = torch.full((len(image),), START, device=image.device)
        return greedy(step, last, self.written, END, OFFSET, min(most, self.capacity))


def wanted(tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """The class [B, T] of each step up to the end of the longest text: the text, then ends."""
    tokens = tokens[:, :int(length.max())]
    there = torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]
    return F.pad(torch.where(there, tokens + OFFSET, END), (0, 1), value=END)


def given(classes: torch.Tensor) -> torch.Tensor:
    """The input class [B, T] of each step: the start, and the class before it."""
    return F.pad(classes[:, :-1], (1, 0), value=START)


build = CAN
