"""Words drawn in fonts: the embedded data set, unlimited and without a download; a function of (seed, split,
index).

The effects are those of MJSynth (Jaderberg et al. 2014, Synthetic Data and Artificial Neural Networks for
Natural Scene Text Recognition): font, border or shadow, colours, warp, blend with textures, noise, JPEG.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recog.data.drawn import scene
from recog.data.drawn.dice import Dice
from recog.data.drawn.fonts import alphabet, fonts, word_layers
from recog.data.drawn.lexicon import PLAIN, Lexicon
from recog.errors import ConfigError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from recog.data.rows import Row

IMAGE_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
TOGETHER = 64  # words drawn together: their data fits into the processor's cache
# A sine as the levels of a texture, by its phase.
STRIPES = np.rint(128 + 32 * np.sin(np.arange(256) * (math.pi / 128))).astype(np.uint8)
Curve = tuple[float, float, float, bool]  # start, unit and bend of a bent baseline, whether it is a wave


class Words:
    """Rendered words as a source of examples; any index can be drawn,
    and the length is only the size of an epoch."""

    held_out = 10_000  # words in an evaluation of validation or test

    def __init__(self, rule: 'ConfigDict', split: str, *, seed: int, index_offset: int = 0):
        if not 0 <= rule.difficulty <= 1:
            raise ConfigError(f'config.render.difficulty={rule.difficulty} must be between 0 and 1')
        self.name, self.difficulty = f'rendered:{split}', float(rule.difficulty)
        self.scene = float(rule.scene)
        self.index_offset = index_offset
        self.split, self.count = split, rule.count if split == 'train' else self.held_out
        self.fonts = fonts(rule.fonts)
        self.backgrounds = backgrounds(rule.backgrounds)
        self.lexicon = Lexicon(rule.words, split, rule.letters, [alphabet(path) for path in self.fonts],
                               codes=rule.codes, marks=rule.marks, short=rule.scene)
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
            pictures = draw([word[1:] for word in words], fonts, self.difficulty, self.backgrounds,
                            self.scene)
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
            raise ConfigError(f'config.render.backgrounds: {str(path)!r} must be an image '
                              'that OpenCV can read')
    return tuple(map(str, found))


def draw(words: Sequence[tuple[str, Dice]], fonts: Sequence[str], difficulty: float,
         images: Sequence[str] = (), share: float = 0.0) -> list[np.ndarray]:
    """Pictures [H, W, 3] of texts; the difficulty scales the ranges and probabilities of all effects, and
    `share` of them are as photographs have them.

    Each step is done for all words before the next: the processor's caches hold the code of one step, but not
    of all.
    """
    dice = [each for _, each in words]
    masks = [word_layers(text, each, font, difficulty)
             for (text, each), font in zip(words, fonts, strict=True)]
    seen = [share > 0 and each.chance(share) for each in dice]
    boxes: list[scene.Box | None] = [None] * len(words)
    for number, (layers, extra) in enumerate(masks):
        if seen[number]:
            layers, boxes[number] = scene.surrounded(layers, dice[number], fonts[number])
            masks[number] = layers, extra
    places = [_place(layers[0], each, difficulty, box)
              for (layers, _), each, box in zip(masks, dice, boxes, strict=True)]
    warped = [_warped(layers, *place) for (layers, _), place in zip(masks, places, strict=True)]
    warped = [_blurred(layers, each, difficulty) for layers, each in zip(warped, dice, strict=True)]
    pictures = [_painted(layers, extra, each, difficulty, images)
                for layers, (_, extra), each in zip(warped, masks, dice, strict=True)]
    pictures = [scene.photographed(picture, each) if photo else picture
                for picture, each, photo in zip(pictures, dice, seen, strict=True)]
    pictures = [_noisy(picture, each, difficulty) for picture, each in zip(pictures, dice, strict=True)]
    return [_compressed(picture, each, difficulty) for picture, each in zip(pictures, dice, strict=True)]


def _place(mask: np.ndarray, dice: Dice, difficulty: float,
           box: scene.Box | None = None) -> tuple[np.ndarray, int, int, Curve | None]:
    """A mask [H, W] stretched, slanted, turned, in perspective, bent, scaled: matrix, picture size, curve.

    A word that stands in a box of its mask is seen as in a photograph.
    """
    tall, wide = (box.tall, box.wide) if box else mask.shape
    view = scene.PHOTOGRAPHED if box else scene.view(difficulty)
    bend = dice.pick((-1, 1)) * dice.uniform(0.1, 0.5) * tall if dice.chance(0.25 * difficulty) else 0.0
    bent = tall + abs(bend)
    stretch = math.exp(dice.uniform(*view.stretch))
    slant = dice.uniform(-view.slant, view.slant) if dice.chance(0.5) else 0.0
    # Long words turn less, or they would shrink to nothing.
    steepest = min(view.steepest, 0.6 * tall / wide * (1 if box else difficulty)) + 0.01
    angle = dice.uniform(-steepest, steepest) if dice.chance(0.6) else 0.0

    cosine, sine = math.cos(angle), math.sin(angle)
    corners = ((0.0, 0.0), (stretch * wide, 0.0),
               (stretch * wide - slant * bent, bent), (-slant * bent, bent))
    across = [cosine * x - sine * y for x, y in corners]
    down = [sine * x + cosine * y for x, y in corners]
    if dice.chance(0.4):
        lift = view.lift * tall  # of the corners, for the perspective
        shift = min(lift, 0.15 * wide)  # narrow words would fold over
        across = [x + dice.uniform(-shift, shift) for x in across]
        down = [y + dice.uniform(-lift, lift) for y in down]
    height = 26 + int(23 * dice.random() ** 3)
    margins = [dice.uniform(*view.margins) * height for _ in range(4)]
    first, top = min(across), min(down)
    scale = (height - margins[0] - margins[1]) / (max(down) - top)
    width = max(8, round((max(across) - first) * scale + margins[2] + margins[3]))
    matrix = _projection([(x - first) * scale + margins[2] for x in across],
                         [(y - top) * scale + margins[0] for y in down], wide, bent)
    start = 0.0
    if box:
        start = box.left
        matrix = matrix @ np.array(((1, 0, -box.left), (0, 1, -box.top), (0, 0, 1.0)))
    return matrix, height, width, (start, 2 / wide, bend, dice.chance(0.3)) if bend else None


def _projection(across: list[float], down: list[float], wide: float, tall: float) -> np.ndarray:
    """The matrix [3, 3] that takes a rectangle's corners to these, clockwise, without solving equations.

    Heckbert 1989, Fundamentals of Texture Mapping and Image Warping, page 19.
    """
    (x0, x1, x2, x3), (y0, y1, y2, y3) = across, down
    right_x, right_y, below_x, below_y = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    rest_x, rest_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3  # 0 in a parallelogram
    area = right_x * below_y - below_x * right_y
    g, h = (rest_x * below_y - below_x * rest_y) / area, (right_x * rest_y - rest_x * right_y) / area
    return np.array((((x1 - x0 + g * x1) / wide, (x3 - x0 + h * x3) / tall, x0),
                     ((y1 - y0 + g * y1) / wide, (y3 - y0 + h * y3) / tall, y0), (g / wide, h / tall, 1.0)))


def _warped(layers: list[np.ndarray], matrix: np.ndarray, height: int, width: int,
            curve: Curve | None) -> list[np.ndarray]:
    """The layers [H, W] put into a picture, all in one resampling."""
    import cv2

    if not curve:
        return [cv2.warpPerspective(layer, matrix, (width, height), flags=cv2.INTER_LINEAR)
                for layer in layers]
    x, y = _curve(cv2.invert(matrix)[1], height, width, *curve)
    return [cv2.remap(layer, x, y, cv2.INTER_LINEAR) for layer in layers]


def _curve(matrix: np.ndarray, height: int, width: int, start: float, unit: float, bend: float,
           wave: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, x and y [H, W]: by a matrix [3, 3] and an arc or wave of the baseline."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    (a, b, c), (d, e, f), (g, h, i) = (matrix / matrix[2, 2]).tolist()
    across, down = a * x + (b * y + c), d * x + (e * y + f)
    if g or h:
        depth = g * x + (h * y + 1)
        across /= depth
        down /= depth
    shape = (across - start) * unit
    shape -= 1  # -1 to 1 along the word
    shape = np.sin(shape * math.pi) * 0.5 + 0.5 if wave else np.square(shape, out=shape)
    if bend < 0:
        shape -= 1
    shape *= bend
    down -= shape
    return across, down


def _blurred(layers: list[np.ndarray], dice: Dice, difficulty: float) -> list[np.ndarray]:
    """The layers [H, W], of some words a little out of focus."""
    import cv2

    if not dice.chance(0.4 * difficulty):
        return layers
    side = dice.uniform(0.1, 0.33)
    sigma = math.sqrt(0.5 / math.log((1 - 2 * side) / side))  # of the kernel (side, 1 - 2 side, side)
    return [cv2.GaussianBlur(layer, (3, 3), sigma) for layer in layers]


def _painted(layers: list[np.ndarray], extra: str, dice: Dice, difficulty: float,
             images: Sequence[str]) -> np.ndarray:
    """The coloured layers over a background: uint8 [H, W, 3], or [H, W] where all is grey."""
    import cv2

    size, grey = layers[0].shape, dice.chance(0.5 * difficulty)
    ground, least = dice.uniform(0, 255), 100 - 74 * difficulty
    plain, spread = _coloured(dice, ground, grey, difficulty), 0.0
    planes: Sequence[np.ndarray] = ()  # one for each colour, or none: flat so far
    if dice.chance(0.7 * difficulty):
        if images:
            planes, ground, spread = _on_photograph(plain, dice.pick(images), dice, size, difficulty)
        else:
            spread = dice.uniform(4, 32) * difficulty
            texture = _texture(dice, size)
            planes = [_scaled(texture, spread / 32, value - 4 * spread) for value in plain]
    bright = _apart(dice, ground, least + spread)
    colours = [_coloured(dice, bright, grey, difficulty)]
    if extra == 'border' and dice.chance(0.3):  # hollow letters: only the border carries the word
        colours.append(plain)
    elif extra:
        colours.insert(0, _coloured(dice, _apart(dice, bright, least), grey, difficulty))
    for layer, colour in zip(layers, colours, strict=True):
        if planes:
            free = cv2.bitwise_not(layer)
            planes = [cv2.addWeighted(cv2.multiply(plane, free, scale=1 / 255), 1, layer, value / 255, 0)
                      for plane, value in zip(planes, colour, strict=True)]
        else:
            planes = [_scaled(layer, (value - below) / 255, below)
                      for value, below in zip(colour, plain, strict=True)]
    return planes[0] if grey else cv2.merge(planes)


def _scaled(plane: np.ndarray, factor: float, start: float) -> np.ndarray:
    """Levels uint8 [H, W] times a factor, from a start on, as uint8: rounded and clipped."""
    import cv2

    return cv2.addWeighted(plane, factor, plane, 0, start)


def _apart(dice: Dice, luminance: float, least: float) -> float:
    """A luminance that differs from another by at least `least`, or by as much as possible."""
    above, below = max(0.0, 255 - luminance - least), max(0.0, luminance - least)
    if above + below == 0:
        return 0.0 if luminance > 127 else 255.0
    more = (above + below) * dice.random()
    return luminance + least + more if more < above else luminance - least - (more - above)


def _coloured(dice: Dice, luminance: float, grey: bool, difficulty: float) -> tuple[float, ...]:
    """A colour of this luminance: blue, green and red, or the luminance alone."""
    if grey:
        return (luminance,)
    strength = (0.2 + 0.4 * difficulty) * min(luminance, 255 - luminance)
    blue, green, red = dice.uniform(-1, 1), dice.uniform(-1, 1), dice.uniform(-1, 1)
    zero = luminance - strength * (0.114 * blue + 0.587 * green + 0.299 * red)
    return zero + strength * blue, zero + strength * green, zero + strength * red


def _texture(dice: Dice, size: tuple[int, int]) -> np.ndarray:
    """A random texture uint8 [H, W], mean 128, deviation 32: gradient, stripes or noise of several scales."""
    import cv2

    height, width = size
    kind = dice.random()
    if kind < 0.5:
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        if kind < 0.35:
            along, down = 32 / width * dice.uniform(-3, 3), 32 / height * dice.uniform(-3, 3)
            return (x * along + (y * down + (128.5 - (along * width + down * height) / 2))).astype(np.uint8)
        frequency = dice.uniform(0.15, 1.2) * 128 / math.pi  # a turn has 256 phases, which may wrap around
        slope = frequency * dice.uniform(-1.5, 1.5)
        phase = (x * frequency).astype(np.int32).astype(np.uint8)
        phase = phase + (y * slope).astype(np.int32).astype(np.uint8)
        return cv2.LUT(phase, STRIPES)
    bank = clouds(dice.whole(0, 3))
    top, left = dice.whole(0, bank.shape[0] - height), dice.whole(0, max(0, bank.shape[1] - width))
    field = bank[top:top + height, left:left + width]
    return field if field.shape[1] == width else cv2.resize(field, (width, height))


def _on_photograph(colour: tuple[float, ...], path: str, dice: Dice, size: tuple[int, int],
                   difficulty: float) -> tuple[list[np.ndarray], float, float]:
    """A colour blended with a piece of a photograph: planes uint8 [H, W], their mean and deviation."""
    import cv2

    photograph, (height, width) = _photograph(path), size
    tall = max(1, int(min(photograph.shape[0], photograph.shape[1] * height / width) * dice.uniform(0.25, 1)))
    wide = max(1, min(photograph.shape[1], round(tall * width / height)))
    top, left = dice.whole(0, photograph.shape[0] - tall), dice.whole(0, photograph.shape[1] - wide)
    piece = cv2.resize(photograph[top:top + tall, left:left + wide], (width, height),
                       interpolation=cv2.INTER_LINEAR)
    planes = (cv2.cvtColor(piece, cv2.COLOR_BGR2GRAY),) if len(colour) == 1 else cv2.split(piece)
    blend = dice.uniform(0.1, 0.7) * difficulty
    planes = [_scaled(plane, blend, value * (1 - blend)) for plane, value in zip(planes, colour, strict=True)]
    luminance = planes[0] if len(planes) == 1 else cv2.cvtColor(cv2.merge(planes), cv2.COLOR_BGR2GRAY)
    mean, deviation = cv2.meanStdDev(luminance)
    return planes, float(mean[0, 0]), float(deviation[0, 0])


@cache
def clouds(roughness: int) -> np.ndarray:
    """Noise of several scales, uint8 [256, 1024], of mean 128 and deviation 32; 0 is smooth, 3 is rough."""
    import cv2

    generator, field = np.random.default_rng(roughness), np.zeros((256, 1024), np.float32)
    for octave in range(6):
        grain = generator.standard_normal((256 >> octave, 1024 >> octave), dtype=np.float32)
        weight = 2.0 ** (octave * (2.0 - 0.5 * roughness))
        field += np.float32(weight) * cv2.resize(grain, (1024, 256), interpolation=cv2.INTER_CUBIC)
    return _levels((field - field.mean()) / field.std(), 32)


def _levels(values: np.ndarray, scale: int) -> np.ndarray:
    """Values around 0 as uint8 around 128."""
    return np.rint(values * scale + 128).clip(0, 255).astype(np.uint8)


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
    """Normal noise of deviation 16, from which pieces are cut:
    fresh numbers would cost as much as all the rest."""
    return _levels(np.random.default_rng(0).standard_normal(1 << 19, dtype=np.float32), 16)


def _noisy(image: np.ndarray, dice: Dice, difficulty: float) -> np.ndarray:
    """The picture uint8 [H, W, 3], or [H, W] in grey, with noise."""
    import cv2

    grain = _grain() if image.size < _grain().size else np.resize(_grain(), image.size)
    start = dice.whole(0, grain.size - image.size)
    noise = grain[start:start + image.size].reshape(image.shape)
    strength = dice.uniform(0.5, 3 + 5 * difficulty)
    return cv2.addWeighted(image, 1, noise, strength / 16, -8 * strength)


def _compressed(image: np.ndarray, dice: Dice, difficulty: float) -> np.ndarray:
    """The picture [H, W, 3] of one uint8 [H, W, 3], or [H, W] in grey; some have JPEG artefacts."""
    import cv2

    if dice.chance(0.2 + 0.2 * difficulty):
        quality = int(dice.uniform(95 - 60 * difficulty, 98))
        code = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
