"""RARE in Paddle; `recog/models/rare.py` names the paper."""

import paddle
import paddle.nn.functional as F
from ml_collections import ConfigDict
from paddle import nn

from recog.bench.paddle.backbones import Features, conv_norm
from recog.bench.paddle.texts import Found
from recog.images import fit
from recog.models.parts import rectification

# Values that it supports; sizes are free.
FIELDS = {'model.backbone': ('resnet34_vd', 'mobilenet_v3'), 'model.teaching': ('own',),
          'model.shifted': (False,), 'model.skip_ends': (True,)}


class Localisation(nn.Layer):
    """Images to fiducial points [B, F, 2]."""

    def __init__(self, channels: int, size: rectification.Size, count: int):
        super().__init__()
        self.count = count
        for number, outputs in enumerate(size.features):
            self.add_sublayer(f'loc_conv{number}', conv_norm(channels, outputs))
            channels = outputs
        self.fc1, self.fc2 = nn.Linear(channels, size.hidden), nn.Linear(size.hidden, 2 * count)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.max_pool2d(self.loc_conv0(x), 2)
        x = F.max_pool2d(self.loc_conv1(x), 2)
        x = F.max_pool2d(self.loc_conv2(x), 2)
        x = F.adaptive_avg_pool2d(self.loc_conv3(x), 1).flatten(1)
        return self.fc2(F.relu(self.fc1(x))).reshape([-1, self.count, 2])


class Rectifier(nn.Layer):
    """Images to images bent by a thin-plate spline."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule, image = config.model, config.image
        self.border, self.shape = rule.border, (image.height, image.width)
        self.loc_net = Localisation(fit.channels(image), rectification.SIZES[rule.rectify], rule.fiducials)
        factors = rectification.spline(rule.fiducials, *self.shape)
        self.register_buffer('terms', paddle.to_tensor(factors.terms), persistable=False)
        self.register_buffer('inverse', paddle.to_tensor(factors.inverse), persistable=False)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        grid = self.terms @ (self.inverse @ self.loc_net(image))
        pixels = image.detach()
        pixels.stop_gradient = False  # on a CPU, Paddle's gradient of the grid crashes without the pixels'
        return F.grid_sample(pixels, grid.reshape([-1, *self.shape, 2]), padding_mode=self.border,
                             align_corners=True)


class AttentionCell(nn.Layer):
    """A GRU cell that attends to the columns before each step."""

    def __init__(self, width: int, hidden: int, classes: int):
        super().__init__()
        self.classes = classes
        self.i2h = nn.Linear(width, hidden, bias_attr=False)
        self.h2h = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias_attr=False)
        self.rnn = nn.GRUCell(width + classes, hidden)

    def forward(self, columns: paddle.Tensor, keys: paddle.Tensor, hidden: paddle.Tensor,
                last: paddle.Tensor) -> paddle.Tensor:
        energy = self.score(F.tanh(keys + self.h2h(hidden).unsqueeze(1)))
        context = (F.softmax(energy, 1).transpose([0, 2, 1]) @ columns).squeeze(1)
        return self.rnn(paddle.concat([context, F.one_hot(last, self.classes)], 1), hidden)[0]


class RARE(nn.Layer):
    """Images [B, C, 32, W] to logits [B, 25, 2 + V]; class 0 is the start, the last one the end."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        rule, self.end = config.model, tokens + 1
        self.steps, self.hidden = rule.capacity, rule.attention
        self.transform = nn.Identity() if rule.rectify == 'none' else Rectifier(config)
        self.features = Features(config)
        self.head = nn.LayerDict({
            'attention_cell': AttentionCell(self.features.width, self.hidden, tokens + 2),
            'generator': nn.Linear(self.hidden, tokens + 2)})

    def forward(self, image: paddle.Tensor, most: int | None = None) -> paddle.Tensor:
        """All steps or, like ours, only those until all texts have `most` tokens."""
        columns, cell = self.features(self.transform(image)), self.head['attention_cell']
        keys, rows = cell.i2h(columns), columns.shape[0]
        hidden, last = paddle.zeros([rows, self.hidden]), paddle.zeros([rows], 'int64')
        written, logits = paddle.zeros_like(last), []
        for _ in range(self.steps):
            hidden = cell(columns, keys, hidden, last)
            logits.append(self.head['generator'](hidden))
            last = logits[-1].argmax(-1)
            if most is None or not paddle.in_dynamic_mode():  # the steps of a static program are fixed
                continue
            written = written + self._kept(last).astype('int64')
            if bool((written >= most).all()):
                break
        return paddle.stack(logits, 1)

    def _kept(self, classes: paddle.Tensor) -> paddle.Tensor:
        """Whether these are tokens, neither start nor end."""
        return (classes > 0) & (classes < self.end)

    def loss(self, image: paddle.Tensor, tokens: paddle.Tensor, length: paddle.Tensor) -> paddle.Tensor:
        # As in the reference, the first step must predict the start, and steps after the end count too.
        wanted = F.pad(tokens + 1, [0, 0, 1, self.steps - 1 - tokens.shape[1]])
        wanted = paddle.put_along_axis(wanted, length.unsqueeze(1) + 1, self.end, 1)
        return F.cross_entropy(self(image), wanted, reduction='sum')

    def found(self, image: paddle.Tensor, most: int) -> Found:
        """The steps of greedy decoding."""
        probability = F.softmax(self(image, most), -1)
        classes = probability.argmax(-1)
        return classes - 1, probability.max(-1), self._kept(classes)


build = RARE
