"""Words drawn in fonts: the embedded data set, unlimited and without a download; a function of (seed, split,
index).

The effects are those of MJSynth (Jaderberg et al. 2014, Synthetic Data and Artificial Neural Networks for
Natural Scene Text Recognition): font, border or shadow, colours, warp, blend with textures, noise, JPEG.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recog.data.drawn import painting, placing, scene
from recog.data.drawn.alphabets import alphabet, remember
from recog.data.drawn.dice import Dice
from recog.data.drawn.fonts import fonts, word_layers
from recog.data.drawn.lexicon import PLAIN, Lexicon
from recog.errors import ConfigError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from recog.data.rows import Row

TOGETHER = 64  # words drawn together: their data fits into the processor's cache


class Words:
    """Rendered words as a source of examples; any index can be drawn,
    and the length is only the size of an epoch."""

    held_out = 10_000  # words in an evaluation of validation or test

    def __init__(self, rule: 'ConfigDict', split: str, *, seed: int, index_offset: int = 0):
        if not 0 <= rule.difficulty <= 1:
            raise ConfigError(f'config.render.difficulty={rule.difficulty} must be between 0 and 1')
        self.name, self.difficulty = f'rendered:{split}', float(rule.difficulty)
        self.scene, self.turned = float(rule.scene), float(rule.turned)
        self.ramp = rule.ramp if split == 'train' else 0
        self.index_offset = index_offset
        self.split, self.count = split, rule.count if split == 'train' else self.held_out
        self.fonts = fonts(rule.fonts)
        self.backgrounds = painting.backgrounds(rule.backgrounds)
        self.lexicon = Lexicon(rule.words, split, rule.letters, [alphabet(path) for path in self.fonts],
                               codes=rule.codes, marks=rule.marks, short=rule.scene)
        remember()
        self.stream = int.from_bytes(hashlib.blake2b(f'{seed}:{split}'.encode(), digest_size=8).digest())

    def __len__(self) -> int:
        return self.count

    def drawn_from(self) -> dict[str, Any]:
        """Of how many fonts and listed words these are drawn, and a hash of both: with others they differ."""
        fonts, words = [Path(path).name for path in self.fonts], sum(self.lexicon.listed or [], [])
        content = '\n'.join([*fonts, '', *words])
        return {'fonts': len(fonts), 'words': len(words),
                'sha256': hashlib.sha256(content.encode()).hexdigest()}

    def rows(self, indices: Sequence[int]) -> 'list[Row]':
        """The words drawn: BGR images [H, W, 3]."""
        from recog.data.rows import Row

        rows: list[Row] = []
        for start in range(0, len(indices), TOGETHER):
            words = [self._word(index) for index in indices[start:start + TOGETHER]]
            fonts = [self._font(text, dice) for _, text, dice in words]
            levels = [self._level(index) for index in indices[start:start + TOGETHER]]
            pictures = draw([word[1:] for word in words], fonts,
                            [self.difficulty * level for level in levels], self.backgrounds,
                            [self.scene * level for level in levels], self.turned)
            rows += [Row(name, text, picture)
                     for (name, text, _), picture in zip(words, pictures, strict=True)]
        return rows

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        """Id and text of the words, without drawing them."""
        return [self._word(index)[:2] for index in indices]

    def _word(self, index: int) -> tuple[str, str, Dice]:
        place = int(index) + self.index_offset
        if place < 0:
            raise IndexError(f'{self.name} has no word {place}')
        dice = Dice(self.stream << 64 | place)
        return f'{self.split}-{place:09d}', self.lexicon.draw(dice), dice

    def _level(self, index: int) -> float:
        """The share of the difficulty with which a word is drawn: it grows over the first `ramp` words."""
        return min(1.0, int(index) / self.ramp) if self.ramp else 1.0

    def _font(self, text: str, dice: Dice) -> str:
        if PLAIN.issuperset(text):
            return dice.pick(self.fonts)
        return dice.pick([path for path in self.fonts if alphabet(path).issuperset(text)])


def draw(words: Sequence[tuple[str, Dice]], fonts: Sequence[str], difficulties: Sequence[float],
         images: Sequence[str] = (), shares: Sequence[float] = (), turned: float = 0.0) -> list[np.ndarray]:
    """Pictures [H, W, 3] of texts; a word's difficulty scales the ranges and probabilities of all effects,
    and with the probability in `shares` it is as photographs have it. The share `turned` is turned by one to
    three quarters.

    Each step is done for all words before the next: the processor's caches hold the code of one step, but not
    of all.
    """
    dice = [each for _, each in words]
    seen = [share > 0 and each.chance(share)
            for each, share in zip(dice, shares or [0.0] * len(dice), strict=True)]
    masks = [word_layers(text, each, font, difficulty, photo)
             for (text, each), font, difficulty, photo in zip(words, fonts, difficulties, seen, strict=True)]
    boxes: list[scene.Box | None] = [None] * len(words)
    for number, (layers, extra) in enumerate(masks):
        if seen[number]:
            layers, extra = scene.crafted(layers, extra, dice[number])
            layers, boxes[number] = scene.surrounded(layers, dice[number], fonts[number])
            masks[number] = layers, extra
    places = [placing.place(layers[0], each, difficulty, box)
              for (layers, _), each, difficulty, box in zip(masks, dice, difficulties, boxes, strict=True)]
    warped = [placing.warped(layers, *place) for (layers, _), place in zip(masks, places, strict=True)]
    warped = [painting.blurred(*each) for each in zip(warped, dice, difficulties, strict=True)]
    pictures = [painting.painted(layers, masks[number][1], each, difficulties[number], images, seen[number])
                for number, (layers, each) in enumerate(zip(warped, dice, strict=True))]
    pictures = [scene.photographed(picture, each) if photo else picture
                for picture, each, photo in zip(pictures, dice, seen, strict=True)]
    pictures = [painting.noisy(*each) for each in zip(pictures, dice, difficulties, strict=True)]
    pictures = [painting.compressed(*each) for each in zip(pictures, dice, difficulties, strict=True)]
    return [np.ascontiguousarray(np.rot90(picture, each.pick((1, 2, 3))))
            if turned and each.chance(turned) else picture
            for picture, each in zip(pictures, dice, strict=True)]
