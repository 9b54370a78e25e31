"""Words drawn from fonts: the embedded data set, unlimited and without a download; a function of (seed, split, index).

The effects are those of MJSynth (Jaderberg et al. 2014, Synthetic Data and Artificial Neural Networks for Natural Scene
Text Recognition): font, border or shadow, colours, warp, blend with textures, noise, JPEG.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recog.config import ConfigError
from recog.words import EM, PLAIN, Dice, Lexicon, alphabet, face, fonts

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from recog.data import Row

IMAGE_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
LUMINANCE = np.array([0.114, 0.587, 0.299], np.float32)  # of blue, green, red


class Words:
    """Rendered words as a source of examples; any index can be drawn, the length is what an epoch counts."""

    held_out = 10_000  # words that an evaluation of validation or test counts

    def __init__(self, rule: 'ConfigDict', split: str, *, seed: int, index_offset: int = 0):
        if not 0 <= rule.difficulty <= 1:
            raise ConfigError(f'config.render.difficulty={rule.difficulty} must be between 0 and 1')
        self.name, self.difficulty, self.index_offset = f'rendered:{split}', float(rule.difficulty), index_offset
        self.split, self.count = split, rule.count if split == 'train' else self.held_out
        self.fonts = fonts(rule.fonts)
        self.backgrounds = backgrounds(rule.backgrounds)
        self.lexicon = Lexicon(rule.words, split, rule.letters, [alphabet(path) for path in self.fonts])
        self.stream = int.from_bytes(hashlib.blake2b(f'{seed}:{split}'.encode(), digest_size=8).digest())

    def __len__(self) -> int:
        return self.count

    def rows(self, indices: Sequence[int]) -> 'list[Row]':
        """The words drawn: BGR images [H, W, 3]."""
        from recog.data import Row

        rows = []
        for index in indices:
            name, text, dice = self._word(index)
            rows.append(Row(name, text, draw(text, dice, self._font(text, dice), self.difficulty, self.backgrounds)))
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

    def _font(self, text: str, dice: Dice) -> str:
        if PLAIN.issuperset(text):
            return dice.pick(self.fonts)
        return dice.pick([path for path in self.fonts if alphabet(path).issuperset(text)])


def backgrounds(folder: str) -> tuple[str, ...]:
    """Paths of the images in a folder ('' is none)."""
    import cv2

    if not folder:
        return ()
    found = [path for path in sorted(Path(folder).rglob('*')) if path.suffix.lower() in IMAGE_ENDINGS]
    if not found:
        raise ConfigError(f'config.render.backgrounds={folder!r} must be a folder with images: '
                          + ', '.join(IMAGE_ENDINGS))
    for path in found:
        if not cv2.haveImageReader(str(path)):
            raise ConfigError(f'config.render.backgrounds: {str(path)!r} must be an image that OpenCV can read')
    return tuple(map(str, found))


def draw(text: str, dice: Dice, font: str, difficulty: float, images: Sequence[str] = ()) -> np.ndarray:
    """A picture [H, W, 3] of the text; the difficulty scales the ranges and probabilities of all effects."""
    import cv2

    extra = dice.pick(('border', 'shadow')) if dice.chance(0.45 * difficulty) else ''
    reach = dice.whole(1, 3) if extra else 0
    tracking = dice.uniform(0, 0.25) * difficulty if dice.chance(0.35) else dice.uniform(-0.03, 0.03)
    layers = [face(font).word(text, tracking * EM, reach)]
    if extra == 'border':
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        layers.insert(0, cv2.dilate(layers[0], kernel))
    elif extra == 'shadow':  # within the padding, so nothing wraps around
        layers.insert(0, np.roll(layers[0], (dice.pick((-reach, 0, reach)), dice.pick((-reach, reach))), (0, 1)))
    layers = _warped(layers, dice, difficulty)
    if dice.chance(0.4 * difficulty):
        side = dice.uniform(0.1, 0.33)
        kernel = np.array([side, 1 - 2 * side, side], np.float32)
        layers = [cv2.sepFilter2D(layer, -1, kernel, kernel) for layer in layers]
    return _degraded(_painted(layers, extra, dice, difficulty, images), dice, difficulty)


def _warped(layers: list[np.ndarray], dice: Dice, difficulty: float) -> list[np.ndarray]:
    """The layers [H, W] stretched, slanted, turned, in perspective, bent and scaled: all in one resampling."""
    import cv2

    tall, wide = layers[0].shape
    bend = dice.pick((-1, 1)) * dice.uniform(0.1, 0.5) * tall if dice.chance(0.25 * difficulty) else 0.0
    bent = tall + abs(bend)
    stretch = math.exp(dice.uniform(-1, 1) * (0.05 + 0.25 * difficulty))
    slant = dice.uniform(-0.35, 0.35) * difficulty if dice.chance(0.5) else 0.0
    steepest = min(0.26, 0.6 * tall / wide) * difficulty + 0.01  # long words turn less, else they shrink to nothing
    angle = dice.uniform(-steepest, steepest) if dice.chance(0.6) else 0.0
    lift = 0.16 * tall * difficulty if dice.chance(0.4) else 0.0  # of the corners, for the perspective
    shift = min(lift, 0.15 * wide)  # narrow words would fold over

    cosine, sine = math.cos(angle), math.sin(angle)
    corners = ((0, 0), (wide, 0), (wide, bent), (0, bent))
    across = [cosine * (stretch * x - slant * y) - sine * y + dice.uniform(-shift, shift) for x, y in corners]
    down = [sine * (stretch * x - slant * y) + cosine * y + dice.uniform(-lift, lift) for x, y in corners]
    height = 26 + int(23 * dice.random() ** 3)
    margins = [dice.uniform(0.04, 0.08 + 0.09 * difficulty) * height for _ in range(4)]
    first, top = min(across), min(down)
    scale = (height - margins[0] - margins[1]) / (max(down) - top)
    width = max(8, round((max(across) - first) * scale + margins[2] + margins[3]))
    target = np.array((across, down), np.float32).T * scale
    target += np.array((margins[2] - first * scale, margins[0] - top * scale), np.float32)
    matrix = cv2.getPerspectiveTransform(target, np.array(corners, np.float32))  # from the picture to the mask
    if not bend:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return [cv2.warpPerspective(layer, matrix, (width, height), flags=flags) for layer in layers]
    x, y = _curve(matrix.astype(np.float32), height, width, 2 / wide, bend, dice.chance(0.3))
    return [cv2.remap(layer, x, y, cv2.INTER_LINEAR) for layer in layers]


def _curve(matrix: np.ndarray, height: int, width: int, unit: float, bend: float,
           wave: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, x and y [H, W]: through the matrix [3, 3] and an arc or a wave of the baseline."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    (a, b, c), (d, e, f), (g, h, i) = matrix
    depth = 1 / (g * x + (h * y + i))
    across = (a * x + (b * y + c)) * depth
    down = (d * x + (e * y + f)) * depth
    place = across * np.float32(unit) - 1  # -1 to 1 along the word
    shape = np.sin(place * np.float32(math.pi)) * 0.5 + 0.5 if wave else place * place
    down -= shape * np.float32(bend) if bend > 0 else (shape - 1) * np.float32(bend)
    return across, down


def _painted(layers: list[np.ndarray], extra: str, dice: Dice, difficulty: float, images: Sequence[str]) -> np.ndarray:
    """The coloured layers over a background: float32 [C, H, W], one plane where all is grey."""
    size, grey = layers[0].shape, dice.chance(0.5 * difficulty)
    ground, least = dice.uniform(0, 255), 100 - 74 * difficulty
    plain, spread = _coloured(dice, ground, grey, difficulty), 0.0
    image = plain
    if dice.chance(0.7 * difficulty):
        if images:
            image, ground, spread = _on_photograph(plain, dice.pick(images), dice, size, difficulty)
        else:
            spread = dice.uniform(4, 32) * difficulty
            image = plain + _texture(dice, size, spread)
    bright = _apart(dice, ground, least + spread)
    colours = [_coloured(dice, bright, grey, difficulty)]
    if extra == 'border' and dice.chance(0.3):  # hollow letters: only the border carries the word
        colours.append(plain)
    elif extra:
        colours.insert(0, _coloured(dice, _apart(dice, bright, least), grey, difficulty))
    for layer, colour in zip(layers, colours, strict=True):
        image = image + layer.astype(np.float32) * ((colour - image) * np.float32(1 / 255))
    return image


def _apart(dice: Dice, luminance: float, least: float) -> float:
    """A luminance that differs from another by at least so much, or as much as there is room for."""
    above, below = max(0.0, 255 - luminance - least), max(0.0, luminance - least)
    if above + below == 0:
        return 0.0 if luminance > 127 else 255.0
    more = (above + below) * dice.random()
    return luminance + least + more if more < above else luminance - least - (more - above)


def _coloured(dice: Dice, luminance: float, grey: bool, difficulty: float) -> np.ndarray:
    """A colour [C, 1, 1] of this luminance."""
    if grey:
        return np.full((1, 1, 1), luminance, np.float32)
    strength = (0.2 + 0.4 * difficulty) * min(luminance, 255 - luminance)
    blue, green, red = (dice.uniform(-1, 1) for _ in range(3))
    zero = luminance - strength * (0.114 * blue + 0.587 * green + 0.299 * red)
    return np.array([[[zero + strength * blue]], [[zero + strength * green]], [[zero + strength * red]]], np.float32)


def _texture(dice: Dice, size: tuple[int, int], strength: float) -> np.ndarray:
    """A drawn texture [H, W] around 0, of about this deviation: a gradient, stripes or noise of several scales."""
    import cv2

    height, width = size
    kind = dice.random()
    if kind < 0.5:
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        if kind < 0.35:
            field = (x - width / 2) * (dice.uniform(-3, 3) / width) + (y - height / 2) * (dice.uniform(-3, 3) / height)
        else:
            frequency = dice.uniform(0.15, 1.2)
            field = np.sin(x * frequency + y * (frequency * dice.uniform(-1.5, 1.5)))
    else:
        bank = clouds(dice.whole(0, 3))
        top, left = dice.whole(0, bank.shape[0] - height), dice.whole(0, max(0, bank.shape[1] - width))
        field = bank[top:top + height, left:left + width]
        if field.shape[1] < width:
            field = cv2.resize(field, (width, height))
    return field * np.float32(strength)


def _on_photograph(colour: np.ndarray, path: str, dice: Dice, size: tuple[int, int],
                   difficulty: float) -> tuple[np.ndarray, float, float]:
    """A colour [C, 1, 1] blended with a piece of a photograph: [C, H, W], its mean luminance, the deviation of that."""
    import cv2

    photograph, (height, width) = _photograph(path), size
    tall = max(1, int(min(photograph.shape[0], photograph.shape[1] * height / width) * dice.uniform(0.25, 1)))
    wide = max(1, min(photograph.shape[1], round(tall * width / height)))
    top, left = dice.whole(0, photograph.shape[0] - tall), dice.whole(0, photograph.shape[1] - wide)
    piece = cv2.resize(photograph[top:top + tall, left:left + wide], (width, height), interpolation=cv2.INTER_LINEAR)
    planes = cv2.split(piece) if len(colour) == 3 else (cv2.cvtColor(piece, cv2.COLOR_BGR2GRAY),)
    blend = np.float32(dice.uniform(0.1, 0.7) * difficulty)
    image = colour * (1 - blend) + np.stack(planes) * blend
    luminance = np.tensordot(LUMINANCE, image, 1) if len(planes) == 3 else image[0]
    return image, float(luminance.mean()), float(luminance.std())


@cache
def clouds(roughness: int) -> np.ndarray:
    """A field [256, 1024] of noise of several scales, mean 0 and deviation 1; 0 is smooth, 3 is rough."""
    import cv2

    generator, field = np.random.default_rng(roughness), np.zeros((256, 1024), np.float32)
    for octave in range(6):
        grain = generator.standard_normal((256 >> octave, 1024 >> octave), dtype=np.float32)
        weight = 2.0 ** (octave * (2.0 - 0.5 * roughness))
        field += np.float32(weight) * cv2.resize(grain, (1024, 256), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / field.std()


@lru_cache(maxsize=512)
def _photograph(path: str) -> np.ndarray:
    """An image [H, W, 3] of at most 400 pixels a side."""
    import cv2

    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise ConfigError(f'config.render.backgrounds: {path!r} must be an image that OpenCV can read')
    scale = 400 / max(image.shape)
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return image if scale >= 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@cache
def _grain() -> np.ndarray:
    """Normal noise to cut pieces from: fresh numbers would cost as much as the rest of the picture."""
    return np.random.default_rng(0).standard_normal(1 << 19, dtype=np.float32)


def _degraded(image: np.ndarray, dice: Dice, difficulty: float) -> np.ndarray:
    """The picture uint8 [H, W, 3] of float32 [C, H, W], with noise and the marks of JPEG."""
    import cv2

    planes, height, width = image.shape
    flat = image.reshape(planes * height, width)
    grain = _grain() if flat.size < _grain().size else np.resize(_grain(), flat.size)
    start = dice.whole(0, grain.size - flat.size)
    noise = grain[start:start + flat.size].reshape(flat.shape)
    rounded = cv2.addWeighted(flat, 1, noise, dice.uniform(0.5, 3 + 5 * difficulty), 0, dtype=cv2.CV_8U)  # clips, too
    picture = cv2.merge(list(rounded.reshape(image.shape))) if planes == 3 else rounded
    if dice.chance(0.2 + 0.2 * difficulty):
        quality = int(dice.uniform(95 - 60 * difficulty, 98))
        code = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = cv2.imdecode(code, cv2.IMREAD_UNCHANGED)
    return picture if planes == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
