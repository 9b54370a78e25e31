"""SRN in Paddle; `recog/models/srn.py` names the paper. Layers are named as in the published checkpoint."""

import paddle
import paddle.nn.functional as F
from ml_collections import ConfigDict
from paddle import nn

from recog.bench.paddle.backbones import conv_norm
from recog.bench.paddle.texts import Found
from recog.images import fit
from recog.models.backbones.resnet_fpn import GROWTH, STRIDE, STRIDES

# Values that it supports; sizes are free.
FIELDS = {'model.semantic': (True,), 'model.branches': ('both',), 'model.fusion': ('gate',),
          'model.positions': ('fixed',), 'model.dropout_rule': ('downscale',),
          'model.embed_first': (False,), 'model.attention_scale': ('model',),
          'model.average': (False,), 'model.skip_ends': (False,)}
NEVER = -1e9  # the logit of what is left out of a softmax


class Bottleneck(nn.Layer):
    """Three convolutions and a shortcut. In the first block of a stage that keeps the size,
    the middle one is 2 x 2 with dilation 2."""

    def __init__(self, inputs: int, features: int, stride: int, first: bool):
        super().__init__()
        outputs = GROWTH * features
        self.conv0 = conv_norm(inputs, features, 1)
        self.conv1 = conv_norm(features, features, 3, stride)
        if first and stride == 1:
            self.conv1.conv = nn.Conv2D(features, features, 2, padding=1, dilation=2, bias_attr=False)
        self.conv2 = conv_norm(features, outputs, 1, activation=None)
        self.short = None
        if first:
            self.short = nn.LayerDict({'conv': conv_norm(inputs, outputs, 1, stride, activation=None)})

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        inside = self.conv2(self.conv1(self.conv0(x)))
        return F.relu(inside + (x if self.short is None else self.short['conv'](x)))


class Backbone(nn.Layer):
    """Images to maps [B, D, H/8, W/8]."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule = config.model
        self.conv = conv_norm(fit.channels(config.image), rule.widths[0], 7, 2)
        self.stages, inputs = [], rule.widths[0]
        for stage, (depth, width, stride) in enumerate(zip(rule.depths, rule.widths, STRIDES, strict=True)):
            names = [f'bottleneckBlock_{stage}_{block}' for block in range(depth)]
            for block, name in enumerate(names):
                self.add_sublayer(name, Bottleneck(inputs, width, 1 if block else stride, not block))
                inputs = GROWTH * width
            self.stages.append(names)
        self.merges = {'F_-2_base_block': 2, 'F_-3_base_block': 1}
        for name, stage in self.merges.items():
            outputs = GROWTH * rule.widths[stage]
            self.add_sublayer(f'{name}_0', nn.Conv2D(inputs + outputs, outputs, 1))
            self.add_sublayer(f'{name}_1', nn.Conv2D(outputs, outputs, 3, padding=1))
            self.add_sublayer(f'{name}_2', nn.BatchNorm2D(outputs))
            inputs = outputs
        self.add_sublayer(f'{name}_3', nn.Conv2D(inputs, rule.width, 1))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x, levels = self.conv(x), []
        for names in self.stages:
            for name in names:
                x = getattr(self, name)(x)
            levels.append(x)
        for name, stage in self.merges.items():
            x = getattr(self, f'{name}_1')(getattr(self, f'{name}_0')(paddle.concat([x, levels[stage]], 1)))
            x = F.relu(getattr(self, f'{name}_2')(x))
        return getattr(self, f'{name}_3')(x)


def dropout(rule: ConfigDict) -> nn.Dropout:
    """Dropout that leaves kept values as they are in training; in
    evaluation all values are multiplied by 1 - p."""
    return nn.Dropout(rule.dropout, mode='downscale_in_infer')


class Layer(nn.Layer):
    """Self-attention and feed-forward, each after a layer norm."""

    def __init__(self, rule: ConfigDict):
        super().__init__()
        width, self.heads = rule.width, rule.heads
        self.preprocesser1, self.preprocesser2 = (nn.LayerDict({'layer_norm_0': nn.LayerNorm(width)})
                                                  for _ in range(2))
        self.self_attn = nn.LayerDict({f'{name}_fc': nn.Linear(width, width, bias_attr=False)
                                       for name in ('q', 'k', 'v', 'proj')})
        self.ffn = nn.LayerDict({'fc1': nn.Linear(width, rule.feed_forward),
                                 'fc2': nn.Linear(rule.feed_forward, width)})
        self.dropout = dropout(rule)

    def forward(self, x: paddle.Tensor, mask: paddle.Tensor | None) -> paddle.Tensor:
        inside, attention = self.preprocesser1['layer_norm_0'](x), self.self_attn
        query, key, value = [attention[f'{name}_fc'](inside).reshape([*x.shape[:2], self.heads, -1])
                             .transpose([0, 2, 1, 3]) for name in 'qkv']
        # By the model's width, as the reference.
        scores = paddle.matmul(query, key, transpose_y=True) * x.shape[-1] ** -0.5
        weights = self.dropout(F.softmax(scores if mask is None else scores + mask, -1))
        heard = (weights @ value).transpose([0, 2, 1, 3]).flatten(2)
        x = x + self.dropout(attention['proj_fc'](heard))
        inside = self.dropout(F.relu(self.ffn['fc1'](self.preprocesser2['layer_norm_0'](x))))
        return x + self.dropout(self.ffn['fc2'](inside))


class Encoder(nn.Layer):
    """Layers over a sequence, and a layer norm after the last."""

    def __init__(self, rule: ConfigDict, layers: int):
        super().__init__()
        self.layers = layers
        for number in range(layers):
            self.add_sublayer(f'layer_{number}', Layer(rule))
        self.processer = nn.LayerDict({'layer_norm_0': nn.LayerNorm(rule.width)})

    def forward(self, x: paddle.Tensor, mask: paddle.Tensor | None = None) -> paddle.Tensor:
        for number in range(self.layers):
            x = getattr(self, f'layer_{number}')(x, mask)
        return self.processer['layer_norm_0'](x)


class Visual(nn.Layer):
    """PVAM: maps to the features of all characters [B, L, D]."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule, width = config.model, config.model.width
        positions = nn.Embedding(config.image.height // STRIDE * config.image.width // STRIDE, width)
        self.wrap_encoder_for_feature = nn.LayerDict({
            'prepare_encoder': nn.LayerDict({'emb': positions}),
            'encoder': Encoder(rule, rule.encoder_layers)})
        self.fc0, self.fc1 = nn.Linear(width, width), nn.Linear(width, 1, bias_attr=False)
        self.emb, self.dropout = nn.Embedding(config.text.max_length, width), dropout(rule)

    def forward(self, maps: paddle.Tensor) -> paddle.Tensor:
        cells, parts = maps.flatten(2).transpose([0, 2, 1]), self.wrap_encoder_for_feature
        cells = self.dropout(cells * cells.shape[-1] ** 0.5 + parts['prepare_encoder']['emb'].weight.detach())
        features = self.fc0(parts['encoder'](cells))
        inside = F.tanh(self.emb.weight.unsqueeze(1) + features.unsqueeze(1))
        # Flat, because Paddle's oneDNN gives a wrong product of four axes and a matrix of one column.
        scores = self.fc1(inside.flatten(0, 2)).reshape(inside.shape[:3])
        return F.softmax(scores, -1) @ features


class Branch(nn.Layer):
    """GSRM in one direction: ids to semantic features of each character, from its neighbours on one side."""

    def __init__(self, config: ConfigDict, embedding: nn.Embedding):
        super().__init__()
        rule = config.model
        self.prepare_decoder = nn.LayerDict({'emb0': embedding,
                                             'emb1': nn.Embedding(config.text.max_length, rule.width)})
        self.encoder, self.dropout = Encoder(rule, rule.reason_layers), dropout(rule)

    def forward(self, ids: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
        table = self.prepare_decoder['emb0'].weight
        embedded = F.embedding(ids, table, padding_idx=0) * table.shape[1] ** 0.5
        return self.encoder(self.dropout(embedded + self.prepare_decoder['emb1'].weight.detach()), mask)


class Semantic(nn.Layer):
    """GSRM: the visual features of all characters [B, L, D] to `word`
    logits, semantic features, and their logits."""

    def __init__(self, config: ConfigDict, classes: int):
        super().__init__()
        width = config.model.width
        self.fc0, self.start = nn.Linear(width, classes), classes
        embedding = nn.Embedding(classes + 1, width)
        self.wrap_encoder0, self.wrap_encoder1 = Branch(config, embedding), Branch(config, embedding)

    def forward(self, visual: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        word = self.fc0(visual)
        ids = word.argmax(-1)
        after = paddle.full(2 * ids.shape[1:], NEVER).triu(1)
        start = paddle.full_like(ids[:, :1], self.start)
        forward = self.wrap_encoder0(paddle.concat([start, ids[:, :-1]], 1), after)
        backward = self.wrap_encoder1(ids, after.t())
        meaning = forward + paddle.concat([backward[:, 1:], paddle.zeros_like(backward[:, :1])], 1)
        table = self.wrap_encoder0.prepare_decoder['emb0'].weight
        return word, meaning, paddle.matmul(meaning, table, transpose_y=True)


class SRN(nn.Layer):
    """Images [B, C, H, W] to logits [B, L, V + 2]; the last class is the end, the one before it is never
    read."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        rule, self.end = config.model, tokens + 1
        self.weights = rule.word_weight, rule.gsrm_weight, rule.vsfd_weight
        self.backbone = Backbone(config)
        self.head = nn.LayerDict({
            'pvam': Visual(config), 'gsrm': Semantic(config, tokens + 2),
            'vsfd': nn.LayerDict({'fc0': nn.Linear(2 * rule.width, rule.width),
                                  'fc1': nn.Linear(rule.width, tokens + 2)})})

    def _stages(self, image: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        """The logits of the visual features, of the semantic features, and of both fused."""
        visual, fusion = self.head['pvam'](self.backbone(image)), self.head['vsfd']
        word, meaning, semantic = self.head['gsrm'](visual)
        gate = F.sigmoid(fusion['fc0'](paddle.concat([visual, meaning], -1)))
        return word, semantic, fusion['fc1'](gate * visual + (1 - gate) * meaning)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        return self._stages(image)[-1]

    def loss(self, image: paddle.Tensor, tokens: paddle.Tensor, length: paddle.Tensor) -> paddle.Tensor:
        inside = paddle.arange(tokens.shape[1]) < length.unsqueeze(1)
        wanted, total = paddle.where(inside, tokens, paddle.full_like(tokens, self.end)), paddle.zeros([])
        for weight, logits in zip(self.weights, self._stages(image), strict=True):
            total = total + weight * F.cross_entropy(logits, wanted, reduction='sum')
        return total

    def found(self, image: paddle.Tensor, most: int) -> Found:
        """All positions; the text is before the first end."""
        unread = NEVER * F.one_hot(paddle.to_tensor(self.end - 1), self.end + 1)
        probability = F.softmax(self(image) + unread, -1)
        best = probability.argmax(-1)
        return best, probability.max(-1), (best == self.end).astype('int64').cumsum(1) == 0


build = SRN
