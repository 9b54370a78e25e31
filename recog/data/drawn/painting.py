"""Words painted: colours, textures and photographs behind them, then focus, noise and JPEG."""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from recog.data.drawn.dice import Dice
from recog.errors import ConfigError

IMAGE_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
# A sine as the levels of a texture, by its phase.
STRIPES = np.rint(128 + 32 * np.sin(np.arange(256) * (math.pi / 128))).astype(np.uint8)


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


def blurred(layers: list[np.ndarray], dice: Dice, difficulty: float) -> list[np.ndarray]:
    """The layers [H, W], of some words a little out of focus."""
    import cv2

    if not dice.chance(0.4 * difficulty):
        return layers
    side = dice.uniform(0.1, 0.33)
    sigma = math.sqrt(0.5 / math.log((1 - 2 * side) / side))  # of the kernel (side, 1 - 2 side, side)
    return [cv2.GaussianBlur(layer, (3, 3), sigma) for layer in layers]


def painted(layers: list[np.ndarray], extra: str, dice: Dice, difficulty: float, images: Sequence[str],
            is_seen: bool = False) -> np.ndarray:
    """The coloured layers over a background: uint8 [H, W, 3], or [H, W] where all is grey. Words that are
    seen in a photograph may be faint."""
    import cv2

    size, grey = layers[0].shape, dice.chance(0.5 * difficulty)
    ground, least = dice.uniform(0, 255), 100 - 74 * difficulty
    if is_seen and dice.chance(0.3):
        least *= dice.uniform(0.4, 1.0)
    plain, spread = _coloured(dice, ground, grey, difficulty), 0.0
    planes: Sequence[np.ndarray] = ()  # one for each colour, or none: flat so far
    if dice.chance(0.7 * difficulty):
        if images:
            planes, ground, spread = _on_photograph(plain, dice.pick(images), dice, size, difficulty)
        else:
            spread = dice.uniform(4, 32) * difficulty
            levels = texture(dice, size)
            planes = [_scaled(levels, spread / 32, value - 4 * spread) for value in plain]
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


def texture(dice: Dice, size: tuple[int, int]) -> np.ndarray:
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


def noisy(image: np.ndarray, dice: Dice, difficulty: float) -> np.ndarray:
    """The picture uint8 [H, W, 3], or [H, W] in grey, with noise."""
    import cv2

    grain = _grain() if image.size < _grain().size else np.resize(_grain(), image.size)
    start = dice.whole(0, grain.size - image.size)
    noise = grain[start:start + image.size].reshape(image.shape)
    strength = dice.uniform(0.5, 3 + 5 * difficulty)
    return cv2.addWeighted(image, 1, noise, strength / 16, -8 * strength)


def compressed(image: np.ndarray, dice: Dice, difficulty: float) -> np.ndarray:
    """The picture [H, W, 3] of one uint8 [H, W, 3], or [H, W] in grey; some have JPEG artefacts."""
    import cv2

    if dice.chance(0.2 + 0.2 * difficulty):
        quality = int(dice.uniform(95 - 60 * difficulty, 98))
        code = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
