"""RARE in PyTorch; `recog/models/rare.py` names the paper."""

from typing import Any

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from recog.bench.pytorch.backbones import Features, conv_norm
from recog.bench.pytorch.recurrence import GRUCell
from recog.bench.pytorch.texts import Found
from recog.images import fit
from recog.models.parts import rectification

# Values that it supports; sizes are free.
FIELDS = {'model.backbone': ('resnet34_vd', 'mobilenet_v3'), 'model.teaching': ('own',),
          'model.shifted': (False,), 'model.skip_ends': (True,)}


class Localisation(nn.Module):
    """Images to fiducial points [B, F, 2]."""

    def __init__(self, channels: int, size: rectification.Size, count: int):
        super().__init__()
        self.count = count
        for number, outputs in enumerate(size.features):
            self.add_module(f'loc_conv{number}', conv_norm(channels, outputs))
            channels = outputs
        self.fc1, self.fc2 = nn.Linear(channels, size.hidden), nn.Linear(size.hidden, 2 * count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.loc_conv0(x), 2)
        x = F.max_pool2d(self.loc_conv1(x), 2)
        x = F.max_pool2d(self.loc_conv2(x), 2)
        x = self.loc_conv3(x).mean((2, 3))
        return self.fc2(F.relu(self.fc1(x))).view(-1, self.count, 2)


class Rectifier(nn.Module):
    """Images to images bent by a thin-plate spline."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule, image = config.model, config.image
        self.border, self.shape = rule.border, (image.height, image.width)
        self.loc_net = Localisation(fit.channels(image), rectification.SIZES[rule.rectify], rule.fiducials)
        factors = rectification.spline(rule.fiducials, *self.shape)
        self.register_buffer('terms', torch.tensor(factors.terms), persistent=False)
        self.register_buffer('inverse', torch.tensor(factors.inverse), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        grid = self.terms @ (self.inverse @ self.loc_net(image))
        return F.grid_sample(image, grid.view(-1, *self.shape, 2), padding_mode=self.border,
                             align_corners=True)


class AttentionCell(nn.Module):
    """A GRU cell that attends to the columns before each step."""

    def __init__(self, width: int, hidden: int, classes: int):
        super().__init__()
        self.classes = classes
        self.i2h = nn.Linear(width, hidden, bias=False)
        self.h2h = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.rnn = GRUCell(width + classes, hidden)

    def forward(self, columns: torch.Tensor, keys: torch.Tensor, hidden: torch.Tensor,
                last: torch.Tensor) -> torch.Tensor:
        energy = self.score(torch.tanh(keys + self.h2h(hidden)[:, None]))
        context = (energy.softmax(1).transpose(1, 2) @ columns)[:, 0]
        return self.rnn(torch.cat([context, F.one_hot(last, self.classes)], 1), hidden)


class RARE(nn.Module):
    """Images [B, C, 32, W] to logits [B, 25, 2 + V]; class 0 is the start, the last one the end."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        rule, self.end = config.model, tokens + 1
        self.steps, self.hidden = rule.capacity, rule.attention
        self.transform = nn.Identity() if rule.rectify == 'none' else Rectifier(config)
        self.features = Features(config)
        self.head = nn.ModuleDict({
            'attention_cell': AttentionCell(self.features.width, self.hidden, tokens + 2),
            'generator': nn.Linear(self.hidden, tokens + 2)})

    def _start(self, image: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """The columns and keys that the cell attends to, its initial state, and its first input class."""
        columns = self.features(self.transform(image))
        rows = len(columns)
        return ((columns, self.head['attention_cell'].i2h(columns)), columns.new_zeros(rows, self.hidden),
                torch.zeros(rows, dtype=torch.long, device=columns.device))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        memory, hidden, last = self._start(image)
        logits = []
        for _ in range(self.steps):
            hidden = self.head['attention_cell'](*memory, hidden, last)
            logits.append(self.head['generator'](hidden))
            last = logits[-1].argmax(-1)
        return torch.stack(logits, 1)

    def loss(self, image: torch.Tensor, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        # As in the reference, the first step must predict the start, and steps after the end count too.
        wanted = F.pad(tokens + 1, (1, self.steps - 1 - tokens.shape[1]))
        wanted = wanted.scatter(1, length[:, None] + 1, self.end)
        return F.cross_entropy(self(image).transpose(1, 2), wanted, reduction='sum')

    def found(self, image: torch.Tensor, most: int) -> Found:
        """The steps of greedy decoding. Like ours, it stops as soon as all texts have `most` tokens."""
        memory, hidden, last = self._start(image)
        written, chosen = torch.zeros_like(last), []
        for _ in range(self.steps):
            hidden = self.head['attention_cell'](*memory, hidden, last)
            probability, last = self.head['generator'](hidden).softmax(-1).max(-1)
            written = written + ((last > 0) & (last < self.end))
            chosen.append((last, probability))
            if bool((written >= most).all()):
                break
        classes, probability = (torch.stack(parts, 1) for parts in zip(*chosen, strict=True))
        return classes - 1, probability, (classes > 0) & (classes < self.end)


build = RARE
