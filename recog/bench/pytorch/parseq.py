"""PARSeq in PyTorch; `recog/models/parseq.py` names the paper. Modules are named as in the published
checkpoints. Keys and values are kept from step to step, which the authors' own code computes anew."""

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from recog.bench.pytorch.attention import projected
from recog.bench.pytorch.texts import Found
from recog.images import fit

FIELDS = {'model.decoding': ('autoregressive',)}  # values that it supports; sizes are free


class Block(nn.Module):
    """Self-attention and feed-forward, each after a layer norm."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({'qkv': nn.Linear(width, 3 * width), 'proj': nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({'fc1': nn.Linear(width, hidden), 'fc2': nn.Linear(hidden, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.attn['qkv'](self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        inside = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        x = x + self.attn['proj'](inside)
        return x + self.mlp['fc2'](F.gelu(self.mlp['fc1'](self.norm2(x))))


class Layer(nn.Module):
    """The decoder layer: queries, tokens that they may see, and a memory."""

    def __init__(self, rule: ConfigDict):
        super().__init__()
        width, hidden = rule.width, rule.ratio * rule.width
        self.self_attn, self.cross_attn = (
            nn.MultiheadAttention(width, rule.decoder_heads, dropout=rule.dropout) for _ in range(2))
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm_q, self.norm_c = (nn.LayerNorm(width) for _ in range(4))
        self.dropout = nn.Dropout(rule.dropout)

    def forward(self, queries: torch.Tensor, own: list[torch.Tensor], seen: torch.Tensor | None,
                memory: list[torch.Tensor]) -> torch.Tensor:
        x = queries + self.dropout(self.attend(self.self_attn, self.norm_q(queries), own, seen))
        x = x + self.dropout(self.attend(self.cross_attn, self.norm1(x), memory, None))
        inside = self.dropout(F.gelu(self.linear1(self.norm2(x))))
        return x + self.dropout(self.linear2(inside))

    def attend(self, part: nn.MultiheadAttention, queries: torch.Tensor, known: list[torch.Tensor],
               seen: torch.Tensor | None) -> torch.Tensor:
        """Attention to known keys and values [B, N, T, D / N]."""
        rate = self.dropout.p if self.training else 0.0
        inside = F.scaled_dot_product_attention(projected(part, queries, 0, 1)[0], *known, attn_mask=seen,
                                                dropout_p=rate)
        result: torch.Tensor = part.out_proj(inside.transpose(1, 2).flatten(2))
        return result


class PARSeq(nn.Module):
    """Images [B, C, H, W] to the logits [B, L, 1 + V] of all positions at once; class 0 is the end."""

    def __init__(self, config: ConfigDict, tokens: int):
        super().__init__()
        rule, shape = config.model, (config.image.height, config.image.width)
        width, (high, wide) = rule.width, rule.patch
        self.letters, self.rule, self.length = tokens, rule, config.text.max_length + 1
        encoder = nn.Module()
        encoder.pos_embed = nn.Parameter(torch.zeros(1, shape[0] // high * (shape[1] // wide), width))
        encoder.patch_embed = nn.ModuleDict({
            'proj': nn.Conv2d(fit.channels(config.image), width, (high, wide), (high, wide))})
        encoder.blocks = nn.Sequential(
            *(Block(width, rule.heads, rule.ratio * width) for _ in range(rule.layers)))
        encoder.norm = nn.LayerNorm(width, eps=1e-6)
        self.encoder = encoder
        self.decoder = nn.ModuleDict({'layers': nn.ModuleList([Layer(rule)]), 'norm': nn.LayerNorm(width)})
        self.head, self.dropout = nn.Linear(width, tokens + 1), nn.Dropout(rule.dropout)
        self.text_embed = nn.ModuleDict({'embedding': nn.Embedding(tokens + 3, width)})
        self.pos_queries = nn.Parameter(torch.zeros(1, self.length, width))

    def memory(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Keys and values of the encoded patches."""
        x = self.encoder.patch_embed['proj'](image).flatten(2).transpose(1, 2) + self.encoder.pos_embed
        encoded = self.encoder.norm(self.encoder.blocks(x))
        return projected(self.decoder['layers'][0].cross_attn, encoded, 1, 3)

    def content(self, classes: torch.Tensor, first: int = 0) -> list[torch.Tensor]:
        """Keys and values of tokens [B, T] from place `first` on; place 0 has no position."""
        places = F.pad(self.pos_queries[0], (0, 0, 1, 0))[first:first + classes.shape[1]]
        embedded = self.rule.width ** 0.5 * self.text_embed['embedding'](classes) + places
        layer = self.decoder['layers'][0]
        return projected(layer.self_attn, layer.norm_c(self.dropout(embedded)), 1, 3)

    def predict(self, queries: torch.Tensor, own: list[torch.Tensor], seen: torch.Tensor | None,
                memory: list[torch.Tensor]) -> torch.Tensor:
        """The logits of positions that see tokens and the memory."""
        rows = own[0].shape[0]
        queries = self.dropout(queries.expand(rows, -1, -1))
        result: torch.Tensor = self.head(self.decoder['norm'](
            self.decoder['layers'][0](queries, own, seen, memory)))
        return result

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        start = torch.full((len(image), 1), self.letters + 1)
        return self.predict(self.pos_queries, self.content(start), None, self.memory(image))

    def loss(self, image: torch.Tensor, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """The mean over the tokens of all orders: those that are drawn or, without dropout, forward and its
        reversal."""
        memory, longest = self.memory(image), int(length.max())
        place = torch.arange(longest + 1)
        fed = self.fed(tokens[:, :longest])
        wanted = torch.where(place < length[:, None], F.pad(tokens[:, :longest], (0, 1)) + 1, 0)
        total, count = torch.zeros(()), 0
        for number, ranks in enumerate(self.orders(longest)):
            seen = (ranks[None, :-1] < ranks[1:, None]) & (place <= length[:, None])[:, None]
            logits = self.predict(self.pos_queries[:, :longest + 1], self.content(fed), seen[:, None], memory)
            counted = place <= (length - int(number >= 2))[:, None]
            total = total + F.cross_entropy(logits[counted], wanted[counted], reduction='sum')
            count += int(counted.sum())
        return total / count

    def orders(self, longest: int) -> list[torch.Tensor]:
        """The ranks [T + 2] of the places in each order."""
        places, count = torch.arange(longest + 2), self.rule.permutations
        found = [places, torch.where(places > 0, longest + 2 - places, 0)]
        for _ in range(count // 2 - 1 if self.dropout.p else 0):
            drawn = torch.randperm(longest) + 1
            found += [torch.cat([places[:1], each, places[-1:]]) for each in (drawn, longest + 1 - drawn)]
        return found[:count]

    def fed(self, tokens: torch.Tensor) -> torch.Tensor:
        """The start and the tokens [B, L] as classes, with padding after the text."""
        classes = torch.where(tokens >= 0, tokens + 1, self.letters + 2)
        return F.pad(classes, (1, 0), value=self.letters + 1)

    def found(self, image: torch.Tensor, most: int) -> Found:
        """All positions, one by one and then refined."""
        memory, known = self.memory(image), None
        classes = torch.full((len(image), 1), self.letters + 1)
        logits = []
        for number in range(self.length):
            new = self.content(classes[:, -1:], number)
            known = new if known is None else [torch.cat(pair, 2) for pair in zip(known, new, strict=True)]
            logits.append(self.predict(self.pos_queries[:, number:number + 1], known, None, memory))
            classes = torch.cat([classes, logits[-1].argmax(-1)], 1)
            if bool((classes == 0).any(1).all()):
                break
        found = torch.cat(logits, 1)
        for _ in range(self.rule.refinements):
            found = self.refined(found, memory)
        probability, best = found.softmax(-1).max(-1)
        return best - 1, probability, (best == 0).cumsum(1) == 0

    def refined(self, logits: torch.Tensor, memory: list[torch.Tensor]) -> torch.Tensor:
        """The logits of all positions, each of which sees all tokens of the text so far but its own."""
        best = F.pad(logits.argmax(-1), (0, self.length - logits.shape[1]))
        there = (best == 0).cumsum(1) == 0
        fed = self.fed(torch.where(there, best - 1, -1)[:, :-1])
        place = torch.arange(self.length)
        seen = (place != place[:, None] + 1) & (place <= there.sum(1, keepdim=True))[:, None]
        return self.predict(self.pos_queries, self.content(fed), seen[:, None], memory)


build = PARSeq
