"""Images corrupted in known ways and strengths, to measure how much a reader bears.

Eight are those of ImageNet-C (Hendrycks and Dietterich 2019), by its names and severities; its lengths, which
are pixels of images of 224, are shares of the shorter side here. The others are of text: how it is cut out,
turned and covered, and how small it is.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

SEVERITIES = (1, 2, 3, 4, 5)
SIDE = 224  # pixels of the benchmark's images
REACH = 2.5  # deviations of a smear
SOFT, FINE = 0.4, 16  # pixels by which the edge of a disk is soft, and parts of a pixel in which it is drawn
MARGIN = 1  # pixels from the edges that say what lies around an image


class Corruption(NamedTuple):
    """A kind of corruption: what makes it, with which strength at each severity, and what these are."""

    change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    strengths: Sequence[float]
    meaning: str
    benchmark: bool = False  # ImageNet-C has it


def corrupted(image: np.ndarray, name: str, severity: int, seed: int, number: int) -> np.ndarray:
    """A copy of the uint8 image [H, W, 3], [H, W, 1] or [H, W]; `number` is the image's in its set."""
    kind = CORRUPTIONS[name]
    key = seed, (crc32(name.encode()) << 3) + severity
    random = np.random.Generator(np.random.Philox(key=key, counter=(0, 0, 0, number)))
    grey = image.ndim == 3 and image.shape[2] == 1
    found = kind.change(image[:, :, 0] if grey else image, kind.strengths[severity - 1], random)
    return np.ascontiguousarray(found)


def _rotated(image: np.ndarray, degrees: float, random: np.random.Generator) -> np.ndarray:
    """Turned to either side, on a canvas that holds all of it."""
    import cv2

    sign = 1 if random.random() < 0.5 else -1
    if degrees % 90 == 0:
        return np.rot90(image, sign * round(degrees / 90))
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), sign * degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide, high = math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine)
    matrix[:, 2] += (wide - width) / 2, (high - height) / 2
    return cv2.warpAffine(image, matrix, (wide, high), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_CONSTANT, borderValue=_around(image))


def _smaller(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    import cv2

    size = max(1, round(image.shape[1] * share)), max(1, round(image.shape[0] * share))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _pixelated(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    import cv2

    return cv2.resize(_smaller(image, share, random), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def _out_of_focus(image: np.ndarray, radius: float, random: np.random.Generator) -> np.ndarray:
    """The mean over a disk with a soft edge."""
    import cv2

    radius *= min(image.shape[:2]) / SIDE
    size = 2 * math.ceil(radius + 3 * SOFT) + 1
    fine = (np.arange(FINE * size) + 0.5) / FINE - size / 2
    disk = (np.hypot(fine[:, None], fine) <= max(radius, 1 / FINE)).astype(np.float64)
    disk = cv2.GaussianBlur(disk, (0, 0), SOFT * FINE).reshape(size, FINE, size, FINE).sum((1, 3))
    return cv2.filter2D(image, -1, disk / disk.sum(), borderType=cv2.BORDER_REPLICATE)


def _moved(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Smeared to one side along a line, at most 45 degrees from level, ever fainter as half a Gaussian."""
    import cv2

    deviation *= min(image.shape[:2]) / SIDE
    angle = random.uniform(-math.pi / 4, math.pi / 4) + (math.pi if random.random() < 0.5 else 0)
    reach = math.ceil(REACH * deviation)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for along in np.linspace(0, REACH * deviation, 8 * reach + 1):
        column, row = reach + along * math.cos(angle), reach + along * math.sin(angle)
        left, top = min(int(column), 2 * reach - 1), min(int(row), 2 * reach - 1)
        shares = np.outer((1 - row + top, row - top), (1 - column + left, column - left))
        kernel[top:top + 2, left:left + 2] += shares * math.exp(-0.5 * (along / deviation) ** 2)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _noisy(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    return _levels(image + 255 * deviation * random.standard_normal(image.shape))


def _counted(image: np.ndarray, photons: float, random: np.random.Generator) -> np.ndarray:
    return _levels(random.poisson(image / 255 * photons) * (255 / photons))


def _peppered(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    drawn = random.random(image.shape)
    return np.where(drawn < share / 2, 0, np.where(drawn < share, 255, image)).astype(np.uint8)


def _flatter(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    mean = image.mean((0, 1), keepdims=True)
    return _levels((image - mean) * share + mean)


def _compressed(image: np.ndarray, quality: float, random: np.random.Generator) -> np.ndarray:
    import cv2

    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR if image.ndim == 3 else cv2.IMREAD_GRAYSCALE))


def _covered(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """With a box of one colour on it, at least half as high as the image."""
    height, width = image.shape[:2]
    high = random.uniform(0.5, 1.0)
    rows, columns = (max(1, round(side)) for side in (high * height, share / high * width))
    top, left = random.integers(height - rows + 1), random.integers(max(width - columns, 0) + 1)
    found = image.copy()
    found[top:top + rows, left:left + columns] = random.integers(0, 256, image.shape[2:], np.uint8)
    return found


def _loose(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    import cv2

    room = max(1, round(share * min(image.shape[:2])))
    return cv2.copyMakeBorder(image, room, room, room, room, cv2.BORDER_CONSTANT, value=_around(image))


def _tight(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    cut = min(max(1, round(share * min(image.shape[:2]))), (min(image.shape[:2]) - 1) // 2)
    return image[cut:image.shape[0] - cut, cut:image.shape[1] - cut]


def _around(image: np.ndarray) -> tuple[float, ...]:
    """The colour in the middle of those at the edges."""
    edges = [image[:MARGIN], image[-MARGIN:], image[:, :MARGIN].swapaxes(0, 1),
             image[:, -MARGIN:].swapaxes(0, 1)]
    return tuple(np.atleast_1d(np.median(np.concatenate(edges, 1), (0, 1))).tolist())


def _levels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


CORRUPTIONS = {
    'rotation': Corruption(_rotated, (10, 20, 45, 90, 180), 'degrees, to either side'),
    'size': Corruption(_smaller, (0.7, 0.5, 0.35, 0.25, 0.15), 'of its height and width'),
    'pixelate': Corruption(_pixelated, (0.6, 0.5, 0.4, 0.3, 0.25), 'of its pixels in each direction', True),
    'defocus_blur': Corruption(_out_of_focus, (3, 4, 6, 8, 10), 'radius in 1/224 of the shorter side', True),
    'motion_blur': Corruption(_moved, (3, 5, 8, 12, 15), 'deviation in 1/224 of the shorter side', True),
    'gaussian_noise': Corruption(_noisy, (0.08, 0.12, 0.18, 0.26, 0.38), 'deviation, of white', True),
    'shot_noise': Corruption(_counted, (60, 25, 12, 5, 3), 'photons of white', True),
    'impulse_noise': Corruption(_peppered, (0.03, 0.06, 0.09, 0.17, 0.27), 'of the values black or white',
                                True),
    'contrast': Corruption(_flatter, (0.4, 0.3, 0.2, 0.1, 0.05), 'of its contrast', True),
    'jpeg_compression': Corruption(_compressed, (25, 18, 15, 10, 7), 'quality', True),
    'occlusion': Corruption(_covered, (0.05, 0.1, 0.15, 0.2, 0.3), 'of the image under a box'),
    'loose_crop': Corruption(_loose, (0.1, 0.25, 0.5, 0.75, 1.0), 'of the shorter side added all around'),
    'tight_crop': Corruption(_tight, (0.03, 0.06, 0.1, 0.15, 0.2), 'of the shorter side cut off all around'),
}
