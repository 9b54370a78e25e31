"""SRN in PyTorch; `recog/models/srn.py` names the paper. Modules are named as in the published checkpoint."""

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from recog.bench.pytorch.backbones import conv_norm
from recog.bench.pytorch.texts import Found
from recog.images import fit
from recog.models.backbones.resnet_fpn import GROWTH, STRIDE, STRIDES

# Values that it supports; sizes are free.
FIELDS = {'model.semantic': (True,), 'model.branches': ('both',), 'model.fusion': ('gate',),
          'model.positions': ('fixed',), 'model.dropout_rule': ('downscale',),
          'model.embed_first': (False,), 'model.attention_scale': ('model',),
          'model.average': (False,), 'model.skip_ends': (False,)}


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut. In the first block of a stage that keeps the size,
    the middle one is 2 x 2 with dilation 2."""

    def __init__(self, inputs: int, features: int, stride: int, first: bool):
        super().__init__()
        outputs = GROWTH * features
        self.conv0 = conv_norm(inputs, features, 1)
        self.conv1 = conv_norm(features, features, 3, stride)
        if first and stride == 1:
            self.conv1.conv = nn.Conv2d(features, features, 2, padding=1, dilation=2, bias=False)
        self.conv2 = conv_norm(features, outputs, 1, activation=None)
        shortcut = nn.ModuleDict({'conv': conv_norm(inputs, outputs, 1, stride, activation=None)})
        self.short = shortcut if first else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = self.conv2(self.conv1(self.conv0(x)))
        return F.relu(inside + (x if self.short is None else self.short['conv'](x)), inplace=True)


class Backbone(nn.Module):
    """Images to maps [B, D, H/8, W/8]."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule = config.model
        self.conv = conv_norm(fit.channels(config.image), rule.widths[0], 7, 2)
        self.stages, inputs = [], rule.widths[0]
        for stage, (depth, width, stride) in enumerate(zip(rule.depths, rule.widths, STRIDES, strict=True)):
            names = [f'bottleneckBlock_{stage}_{block}' for block in range(depth)]
            for block, name in enumerate(names):
                self.add_module(name, Bottleneck(inputs, width, 1 if block else stride, not block))
                inputs = GROWTH * width
            self.stages.append(names)
        self.merges = {'F_-2_base_block': 2, 'F_-3_base_block': 1}
        for name, stage in self.merges.items():
            outputs = GROWTH * rule.widths[stage]
            self.add_module(f'{name}_0', nn.Conv2d(inputs + outputs, outputs, 1))
            self.add_module(f'{name}_1', nn.Conv2d(outputs, outputs, 3, padding=1))
            self.add_module(f'{name}_2', nn.BatchNorm2d(outputs))
            inputs = outputs
        self.add_module(f'{name}_3', nn.Conv2d(inputs, rule.width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, levels = self.conv(x), []
        for names in self.stages:
            for name in names:
                x = getattr(self, name)(x)
            levels.append(x)
        for name, stage in self.merges.items():
            x = getattr(self, f'{name}_1')(getattr(self, f'{name}_0')(torch.cat([x, levels[stage]], 1)))
            x = F.relu(getattr(self, f'{name}_2')(x), inplace=True)
        return getattr(self, f'{name}_3')(x)


class Dropout(nn.Dropout):
    """Dropout that leaves kept values as they are in training; in
    evaluation all values are multiplied by 1 - p."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 - self.p) if self.p else x


class Layer(nn.Module):
    """Self-attention and feed-forward, each after a layer norm."""

    def __init__(self, rule: ConfigDict):
        super().__init__()
        width, self.heads = rule.width, rule.heads
        self.preprocesser1, self.preprocesser2 = (nn.ModuleDict({'layer_norm_0': nn.LayerNorm(width)})
                                                  for _ in range(2))
        self.self_attn = nn.ModuleDict({f'{name}_fc': nn.Linear(width, width, bias=False)
                                        for name in ('q', 'k', 'v', 'proj')})
        self.ffn = nn.ModuleDict({'fc1': nn.Linear(width, rule.feed_forward),
                                  'fc2': nn.Linear(rule.feed_forward, width)})
        self.dropout = Dropout(rule.dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        inside, attention = self.preprocesser1['layer_norm_0'](x), self.self_attn
        query, key, value = (attention[f'{name}_fc'](inside).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                             for name in 'qkv')
        scores = query @ key.transpose(2, 3) * x.shape[-1] ** -0.5  # by the model's width, as the reference
        weights = self.dropout((scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-1))
        x = x + self.dropout(attention['proj_fc']((weights @ value).transpose(1, 2).flatten(2)))
        inside = self.dropout(F.relu(self.ffn['fc1'](self.preprocesser2['layer_norm_0'](x))))
        return x + self.dropout(self.ffn['fc2'](inside))


class Encoder(nn.Module):
    """Layers over a sequence, and a layer norm after the last."""

    def __init__(self, rule: ConfigDict, layers: int):
        super().__init__()
        self.layers = layers
        for number in range(layers):
            self.add_module(f'layer_{number}', Layer(rule))
        self.processer = nn.ModuleDict({'layer_norm_0': nn.LayerNorm(rule.width)})

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        for number in range(self.layers):
            x = getattr(self, f'layer_{number}')(x, mask)
        return self.processer['layer_norm_0'](x)


class Visual(nn.Module):
    """PVAM: maps to the features of all characters [B, L, D]."""

    def __init__(self, config: ConfigDict):
        super().__init__()
        rule, width = config.model, config.model.width
        positions = nn.Embedding(config.image.height // STRIDE * config.image.width // STRIDE, width)
        self.wrap_encoder_for_feature = nn.ModuleDict({
            'prepare_encoder': nn.ModuleDict({'emb': positions}),
            'encoder': Encoder(rule, rule.encoder_layers)})
        self.fc0, self.fc1 = nn.Linear(width, width), nn.Linear(width, 1, bias=False)
        self.emb, self.dropout = nn.Embedding(config.text.max_length, width), Dropout(rule.dropout)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        cells, parts = maps.flatten(2).transpose(1, 2), self.wrap_encoder_for_feature
        cells = self.dropout(cells * cells.shape[-1] ** 0.5 + parts['prepare_encoder']['emb'].weight.detach())
        features = self.fc0(parts['encoder'](cells))
        scores = self.fc1(torch.tanh(self.emb.weight[:, None] + features[:, None]))[..., 0]
        return scores.softmax(-1) @ features


class Branch(nn.Module):
    """GSRM in one direction: ids to semantic features of each character, from its neighbours on one side."""

    def __init__(self, config: ConfigDict, embedding: nn.Embedding):
        super().__init__()
        rule = config.model
        self.prepare_decoder = nn.ModuleDict({'emb0': embedding,
                                              'emb1': nn.Embedding(config.text.max_length, rule.width)})
        self.encoder, self.dropout = Encoder(rule, rule.reason_layers), Dropout(rule.dropout)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        table = self.prepare_decoder['emb0'].weight
        embedded = F.embedding(ids, table) * table.shape[1] ** 0.5 * (ids > 0)[..., None]
        return self.encoder(self.dropout(embedded + self.prepare_decoder['emb1'].weight.detach()), mask)


class Semantic(nn.Module):
    """GSRM: the visual features of all characters [B, L, D] to `word`
    logits, semantic features, and their logits."""

    def __init__(self, config: ConfigDict, classes: int):
        super().__init__()
        width = config.model.width
        self.fc0, self.start = nn.Linear(width, classes), classes
        embedding = nn.Embedding(classes + 1, width)
        self.wrap_encoder0, self.wrap_encoder1 = Branch(config, embedding), Branch(config, embedding)

    def forward(self, visual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        word = self.fc0(visual)
        ids = word.argmax(-1)
        before = torch.ones(2 * ids.shape[1:], dtype=torch.bool, device=ids.device).tril()
        forward = self.wrap_encoder0(F.pad(ids, (1, 0), value=self.start)[:, :-1], before)
        backward = self.wrap_encoder1(ids, before.T)
        meaning = forward + F.pad(backward, (0, 0, 0, 1))[:, 1:]
        return word, meaning, meaning @ self.wrap_encoder0.prepare_decoder['emb0'].weight.T


class SRN(nn.Module):
    """Images [B, C, H, W] to logits [B, L, V + 2]; the last class is the end, the one before it is never
    read."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        rule, self.end = config.model, tokens + 1
        self.weights = rule.word_weight, rule.gsrm_weight, rule.vsfd_weight
        self.backbone = Backbone(config)
        self.head = nn.ModuleDict({
            'pvam': Visual(config), 'gsrm': Semantic(config, tokens + 2),
            'vsfd': nn.ModuleDict({'fc0': nn.Linear(2 * rule.width, rule.width),
                                   'fc1': nn.Linear(rule.width, tokens + 2)})})

    def _stages(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The logits of the visual features, of the semantic features, and of both fused."""
        visual, fusion = self.head['pvam'](self.backbone(image)), self.head['vsfd']
        word, meaning, semantic = self.head['gsrm'](visual)
        gate = fusion['fc0'](torch.cat([visual, meaning], -1)).sigmoid()
        return word, semantic, fusion['fc1'](gate * visual + (1 - gate) * meaning)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self._stages(image)[-1]

    def loss(self, image: torch.Tensor, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        inside = torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]
        wanted, total = torch.where(inside, tokens, self.end), image.new_zeros(())
        for weight, logits in zip(self.weights, self._stages(image), strict=True):
            total = total + weight * F.cross_entropy(logits.transpose(1, 2), wanted, reduction='sum')
        return total

    def found(self, image: torch.Tensor, most: int) -> Found:
        """All positions; the text is before the first end."""
        logits = self(image)
        logits[..., self.end - 1] = -torch.inf
        probability, best = logits.softmax(-1).max(-1)
        return best, probability, (best == self.end).cumsum(1) == 0


build = SRN
