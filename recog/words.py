"""What is written: words, invented by a character model or from a list, in three splits that share none; and the fonts'
letters, from which a word's masks are put together."""

import random
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recog.errors import ConfigError

# Hundredths of all words that a split holds, by the hash of the word's lower-case form.
SPLITS = {'validation': range(0, 5), 'test': range(5, 10), 'train': range(10, 100)}
_SPLIT_OF = [split for split, parts in SPLITS.items() for _ in parts]

LETTERS = 'abcdefghijklmnopqrstuvwxyz'
DIGITS = '0123456789'
PLAIN = frozenset(DIGITS + LETTERS + LETTERS.upper())  # what every font has

EM = 40  # pixels of the cached glyphs: about the size at which most words are shown, so one warp is all the scaling
# Faces of matplotlib that look like letters; LastResort, cmex, cmsy map ASCII to boxes and symbols.
OWN_FACES = ('DejaVu', 'STIXGeneral', 'cmr10', 'cmb10', 'cmss10', 'cmti10', 'cmtt10')

# What stands twice is twice as frequent.
_ONSETS = ('b c d f g h j k l m n p r s t v w y z b c d f g l m n p r s t c d m p r s t bl br ch cl cr dr fl fr gl gr '
           'ph pl pr qu sc sh sk sl sm sn sp st st str sw th th tr tr wh x').split() + ['', '', '']
_NUCLEI = 'a e i o u a e i o u a e i o e y ai au ea ee ie io oa oi oo ou ue'.split()
_CODAS = ('n n r r s t l m d c b g p k x ck ct ft ld ll lt mp nd ng nk nt rd rk rm rn rt ss st th w y'.split()
          + [''] * 24)
_ENDINGS = ('able al ance ed ed ence er er es est ful ic ing ing ion ism ist ity ive less ly ment ness or ous s s s '
            'tion').split()


class Dice(random.Random):
    """The random numbers of one word, made from one whole number; those of numpy cost fifty times as much each."""

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int((high - low + 1) * self.random())

    def pick(self, items: Sequence):
        """One of the items."""
        return items[int(len(items) * self.random())]


def split_of(word: str) -> str:
    """The split that a word belongs to, whatever its case."""
    return _SPLIT_OF[zlib.crc32(word.lower().encode()) % 100]


class Lexicon:
    """The words of one split: those of a list file, or else invented ones of letters[0] to letters[1] characters."""

    def __init__(self, path: str, split: str, letters: Sequence[int], alphabets: Sequence[frozenset[str]]):
        """Refuses words of the list that have characters in none of the fonts' alphabets, and splits without a word."""
        if split not in SPLITS:
            raise ConfigError(f'split {split!r} of rendered words must be train, validation or test')
        self.split, self.letters, self.listed = split, tuple(letters), None
        if path:
            words = read_list(path)
            _check_drawable(path, words, alphabets)
            self.listed = [word for word in words if split_of(word) == split]
        if self.listed == []:
            raise ConfigError(f'config.render.words={path!r} holds no word of the {split} split '
                              '(5 of 100 words are for validation, 5 for test); the list must be longer')
        # A character model of very short words may never reach a small split: seen here, not as an endless loop.
        dice = Dice(0)
        if self.listed is None and not any(split_of(invented(dice, self.letters)) == split for _ in range(5000)):
            raise ConfigError(f'config.render.letters={self.letters} leaves the {split} split without a word; '
                              'allow longer ones')

    def draw(self, dice: Dice) -> str:
        """A word of this split in lower case, capitals, or with a capital at its start."""
        word = invented(dice, self.letters) if self.listed is None else dice.pick(self.listed)
        while split_of(word) != self.split:
            word = invented(dice, self.letters)
        return dice.pick(cases(word))


def cases(word: str) -> tuple[str, str, str]:
    """The word in lower case, Capitalised and in CAPITALS; as it is where length or letters would change."""
    forms = word.lower(), word[:1].upper() + word[1:].lower(), word.upper()
    if word.isascii():
        return forms
    if len({len(form) for form in forms}) > 1 or len({form.lower() for form in forms}) > 1:
        return word, word, word
    return forms


def invented(dice: Dice, letters: Sequence[int]) -> str:
    """A word of letters[0] to letters[1] characters: most can be spoken, some are random letters, digits or both."""
    length, kind = dice.whole(*letters), dice.random()
    if kind < 0.72:
        return _pronounceable(dice, length)
    alphabet = LETTERS if kind < 0.86 else DIGITS if kind < 0.95 else LETTERS + DIGITS * 2
    return ''.join([dice.pick(alphabet) for _ in range(length)])


def _pronounceable(dice: Dice, length: int) -> str:
    ending = dice.pick(_ENDINGS) if length > 4 and dice.chance(0.4) else ''
    word = ''
    while len(word) < length - len(ending):
        word += dice.pick(_ONSETS) + dice.pick(_NUCLEI) + dice.pick(_CODAS)
    return word[:length - len(ending)] + ending


def read_list(path: str) -> list[str]:
    """The different words of a list file, one a line; empty lines do not count, nor does the case."""
    if not Path(path).is_file():
        raise ConfigError(f'config.render.words={path!r} must be a text file with one word a line')
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f'config.render.words={path!r} must be UTF-8 text; byte {error.start} is not') from None
    words = {line.strip().lower(): line.strip() for line in lines if line.strip()}
    if not words:
        raise ConfigError(f'config.render.words={path!r} is empty; it must hold one word a line')
    return list(words.values())


def _check_drawable(path: str, words: Sequence[str], alphabets: Sequence[frozenset[str]]) -> None:
    """Refuse a word that no font can draw in all its cases."""
    for word in words:
        characters = set(''.join(cases(word)))
        if not characters <= PLAIN and not any(characters <= alphabet for alphabet in alphabets):
            anywhere = frozenset().union(*alphabets)
            missing = ''.join(sorted(characters - anywhere)) or 'its characters together'
            raise ConfigError(f'config.render.words={path!r}: no font can draw {missing!r} of {word!r}; '
                              'leave the word out or name a folder of fonts that can in config.render.fonts')


def fonts(folder: str) -> tuple[str, ...]:
    """Paths of matplotlib's faces that draw 0-9a-zA-Z, and of those in a folder ('' is none)."""
    import matplotlib

    own = Path(matplotlib.get_data_path(), 'fonts', 'ttf').glob('*.ttf')
    found = [path for path in sorted(own) if path.name.startswith(OWN_FACES)]
    if folder:
        more = [path for path in sorted(Path(folder).rglob('*')) if path.suffix.lower() in ('.ttf', '.otf')]
        if not any(alphabet(str(path)) >= PLAIN for path in more):
            raise ConfigError(f'config.render.fonts={folder!r} must be a folder with .ttf or .otf files that have '
                              f'0-9a-zA-Z; none of its {len(more)} has')
        found += more
    return tuple(str(path) for path in found if alphabet(str(path)) >= PLAIN)


@cache
def alphabet(path: str) -> frozenset[str]:
    """The characters of a font; a letter or digit that it maps but draws as nothing does not count."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'config.render.fonts: {path!r} must be a readable font ({reason})') from None
    font.set_size(EM, 72)
    mapped = {chr(code) for code in font.get_charmap() if code < 0x110000}
    return frozenset(mapped - {character for character in PLAIN & mapped if not font.load_char(ord(character)).width})


class Glyph(NamedTuple):
    mask: np.ndarray  # uint8 [H, W], 255 is ink
    left: int         # from the pen to the mask
    top: int          # from the baseline, downwards
    advance: float
    height: int
    width: int


class Face:
    """A font's glyphs, made at their first use, and its kerning: without them a word takes 15 times as long."""

    def __init__(self, path: str):
        from PIL import ImageFont

        basic = ImageFont.Layout.BASIC  # raqm is not everywhere and would give other pictures
        self._font = ImageFont.truetype(path, EM, layout_engine=basic)
        self._large = ImageFont.truetype(path, 10 * EM, layout_engine=basic)  # for advances without rounding
        self._kernings = kernings(path)
        self._glyphs: dict[str, Glyph] = {}

    def _raster(self, character: str) -> Glyph:
        from PIL import Image, ImageDraw

        left, top, right, bottom = (int(edge) for edge in self._font.getbbox(character, anchor='ls'))
        image = Image.new('L', (max(0, right - left), max(0, bottom - top)))
        ImageDraw.Draw(image).text((-left, -top), character, fill=255, font=self._font, anchor='ls')
        return Glyph(np.asarray(image), left, top, self._large.getlength(character) / 10, image.height, image.width)

    def word(self, text: str, tracking: float, pad: int) -> np.ndarray:
        """The mask uint8 [H, W] of a word, with `tracking` pixels more between its letters and `pad` around them."""
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

    pairs: dict[str, float] = {}
    with TTFont(path, lazy=True) as font:
        characters: dict[str, str] = {}
        for code, glyph in (font.getBestCmap() or {}).items():
            characters.setdefault(glyph, chr(code))
        for table in font['kern'].kernTables if 'kern' in font else ():
            for (first, second), move in getattr(table, 'kernTable', {}).items():
                if first in characters and second in characters:
                    pairs[characters[first] + characters[second]] = move / font['head'].unitsPerEm
    return pairs


@cache
def face(path: str) -> Face:
    """The face of a font file, one per process."""
    return Face(path)


def layered(text: str, dice: Dice, font: str, difficulty: float) -> tuple[list[np.ndarray], str]:
    """A text's masks [H, W] from back to front, and what the one behind its letters is: 'border', 'shadow' or none."""
    import cv2

    extra = dice.pick(('border', 'shadow')) if dice.chance(0.45 * difficulty) else ''
    reach = dice.whole(1, 3) if extra else 0
    tracking = dice.uniform(0, 0.25) * difficulty if dice.chance(0.35) else dice.uniform(-0.03, 0.03)
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
