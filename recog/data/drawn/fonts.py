"""Fonts and their letters, from which the masks of words are put together."""

import logging
import sys
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recog.data.drawn.alphabets import EM, Broken, alphabet, remember
from recog.data.drawn.dice import Dice
from recog.data.drawn.lexicon import PLAIN
from recog.errors import ConfigError

# Faces of matplotlib that look like letters; LastResort, cmex, cmsy map ASCII to boxes and symbols.
OWN_FACES = ('DejaVu', 'STIXGeneral', 'cmr10', 'cmb10', 'cmss10', 'cmti10', 'cmtt10')


def fonts(folder: str) -> tuple[str, ...]:
    """Paths of matplotlib's faces that draw 0-9a-zA-Z, and of those in a folder ('' is none)."""
    import matplotlib

    own = Path(matplotlib.get_data_path(), 'fonts', 'ttf').glob('*.ttf')
    found = [str(path) for path in sorted(own) if path.name.startswith(OWN_FACES)]
    usable = *(path for path in found if alphabet(path) >= PLAIN), *(_added(folder) if folder else ())
    remember()
    return usable


@cache
def _added(folder: str) -> tuple[str, ...]:
    """The usable fonts of a folder, or all of a list; files of a folder that cannot be read are left out, and
    named on standard error."""
    if Path(folder).is_file():
        return _listed(folder)
    files = [path for path in sorted(Path(folder).rglob('*')) if path.suffix.lower() in ('.ttf', '.otf')]
    usable, broken = [], []
    for path in files:
        try:
            usable += [str(path)] if alphabet(str(path)) >= PLAIN else []
        except Broken as error:
            broken.append(f'{path.relative_to(folder)} ({error})')
    said = f'{len(broken)} of its {len(files)} files cannot be read: {", ".join(broken)}'
    if not usable:
        raise ConfigError(f'config.render.fonts={folder!r} must be a folder with .ttf or .otf files that '
                          f'have 0-9a-zA-Z; none of its {len(files)} has{f"; {said}" if broken else ""}')
    if broken and parent_process() is None:  # workers would say it again
        print(f'config.render.fonts={folder!r}: {said}; they are left out', file=sys.stderr)
    return tuple(usable)


def _listed(file: str) -> tuple[str, ...]:
    """The fonts of a list: in each line a path, and what else is to be known of it behind a tab.

    All must be there: with others, other words would be drawn.
    """
    lines = Path(file).read_text(encoding='utf-8').splitlines()
    rows = [line.split('\t') for line in lines if line and not line.startswith('#')]
    missing = [row for row in rows if not Path(row[0]).is_file()]
    if missing or not rows:
        packages = ' '.join(sorted({row[1] for row in missing if len(row) > 1}))
        raise ConfigError(f'config.render.fonts={file!r}: {len(missing)} of its {len(rows)} fonts are not '
                          f'here, the first is {missing[0][0] if missing else "none"}'
                          + (f'; their packages: {packages}' if packages else ''))
    return tuple(row[0] for row in rows)


class Glyph(NamedTuple):
    mask: np.ndarray  # uint8 [H, W], 255 is ink
    left: int         # from the pen to the mask
    top: int          # from the baseline, downwards
    advance: float
    height: int
    width: int


class Face:
    """The cached glyphs of a font, and its kerning; the cache makes drawing a word fifteen times as fast."""

    def __init__(self, path: str):
        from PIL import ImageFont

        basic = ImageFont.Layout.BASIC  # raqm is not installed everywhere, and draws other pictures
        self._font = ImageFont.truetype(path, EM, layout_engine=basic)
        self._large = ImageFont.truetype(path, 10 * EM, layout_engine=basic)  # for advances without rounding
        self._kernings = kernings(path)
        self._glyphs: dict[str, Glyph] = {}

    def _raster(self, character: str) -> Glyph:
        from PIL import Image, ImageDraw

        left, top, right, bottom = (int(edge) for edge in self._font.getbbox(character, anchor='ls'))
        image = Image.new('L', (max(0, right - left), max(0, bottom - top)))
        ImageDraw.Draw(image).text((-left, -top), character, fill=255, font=self._font, anchor='ls')
        advance = self._large.getlength(character) / 10
        return Glyph(np.asarray(image), left, top, advance, image.height, image.width)

    def word(self, text: str, tracking: float, pad: int) -> np.ndarray:
        """The mask uint8 [H, W] of a word: `tracking` pixels between its letters, `pad` around them."""
        glyphs, kernings = self._glyphs, self._kernings
        pen, before, places = 0.0, '', []
        for character in text:
            if character not in glyphs:
                glyphs[character] = self._raster(character)
            mask, left, top, advance, height, width = glyphs[character]
            if before:
                pen += tracking
                if kernings:
                    pen += EM * kernings.get(before + character, 0.0)
            if width and height:
                x = round(pen) + left
                places.append((x, x + width, top, top + height, mask))
            pen += advance
            before = character
        lefts, rights, tops, bottoms, _ = zip(*places, strict=True)
        up, back = pad - min(tops), pad - min(lefts)
        canvas = np.zeros((max(bottoms) + up + pad, max(rights) + back + pad), np.uint8)
        end = min(lefts)
        for left, right, top, bottom, mask in places:
            if left >= end:
                canvas[top + up:bottom + up, left + back:right + back] = mask
            else:  # letters overlap
                window = canvas[top + up:bottom + up, left + back:right + back]
                np.maximum(window, mask, out=window)
            if right > end:
                end = right
        return canvas


def kernings(path: str) -> dict[str, float]:
    """The kerning of pairs in a font's `kern` table, in shares of EM; Pillow's is 64 times too small."""
    from fontTools.ttLib import TTFont

    # It warns of dates and lengths in a font's tables, on which nothing here depends.
    logging.getLogger('fontTools').setLevel(logging.ERROR)
    pairs: dict[str, float] = {}
    with TTFont(path, lazy=True) as font:
        if 'kern' not in font:
            return pairs
        characters: dict[str, str] = {}
        for code, glyph in (font.getBestCmap() or {}).items():
            characters.setdefault(glyph, chr(code))
        for table in font['kern'].kernTables:
            for (first, second), move in getattr(table, 'kernTable', {}).items():
                if first in characters and second in characters:
                    pairs[characters[first] + characters[second]] = move / font['head'].unitsPerEm
    return pairs


@cache
def face(path: str) -> Face:
    """The face of a font file, one per process."""
    return Face(path)


def word_layers(text: str, dice: Dice, font: str, difficulty: float,
                is_seen: bool = False) -> tuple[list[np.ndarray], str]:
    """A text's masks [H, W] from back to front, and what is behind its letters: 'border', 'shadow' or ''.
    Some words that are seen in a photograph have their letters far apart."""
    import cv2

    extra = dice.pick(('border', 'shadow')) if dice.chance(0.45 * difficulty) else ''
    reach = dice.whole(1, 3) if extra else 0
    tracking = dice.uniform(0, 0.25) * difficulty if dice.chance(0.35) else dice.uniform(-0.03, 0.03)
    if is_seen and dice.chance(0.06):
        tracking = dice.uniform(0.2, 0.8)
    letters = face(font).word(text, tracking * EM, reach)
    if not extra:
        return [letters], extra
    if extra == 'border':
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        return [cv2.dilate(letters, kernel), letters], extra
    inner, shadow = letters[reach:-reach, reach:-reach], np.zeros_like(letters)
    down, across = reach + dice.pick((-reach, 0, reach)), reach + dice.pick((-reach, reach))
    shadow[down:down + inner.shape[0], across:across + inner.shape[1]] = inner
    return [shadow, letters], extra
