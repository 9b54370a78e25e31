"""Training images changed at random: their geometry in one resampling, then light, sharpness, noise and compression.

Numpy and OpenCV only; all that is drawn comes from one generator per example and epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ml_collections import ConfigDict

# Every augmentation in the order in which it is drawn, with a strength at which it is plain to see.
PLAIN = {
    'stretch': 0.3, 'rotation': 10.0, 'perspective': 0.15, 'curve': 0.4, 'brightness': 0.3, 'contrast': 0.5, 'colour': 0.4,
    'blur': 1.5, 'motion': 6.0, 'downscale': 0.6, 'noise': 15.0, 'jpeg': 85.0,
}
SIGNED = ('stretch', 'rotation', 'curve', 'brightness', 'contrast')  # drawn on both sides of zero
# A turned ribbon of 30,000 x 32 pixels would fill a canvas of 450 million; OpenCV's resampling counts in 16 bits.
MOST_PIXELS, LONGEST = 4_000_000, 32_000
LEGIBLE = 32  # pixels of the shorter side; the sharpness of smaller images is spared in proportion
GREY = (0.114, 0.587, 0.299)  # of blue, green and red


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one example in one epoch: the same whichever worker draws them, and after a resume."""
    return np.random.Generator(np.random.Philox(key=(seed, epoch), counter=(0, 0, 0, index)))


def switched_on(rule: ConfigDict) -> dict[str, float]:
    """The augmentations of `config.image.augment` that change anything, with their full strengths."""
    return {name: rule[name] for name in PLAIN if rule[name] > 0} if rule.probability > 0 else {}


def augments(rule: ConfigDict) -> bool:
    """Whether `config.image.augment` changes anything."""
    return bool(switched_on(rule))


def augment(image: np.ndarray, random: np.random.Generator, rule: ConfigDict) -> np.ndarray:
    """The uint8 image changed at random within `config.image.augment`; itself, and nothing drawn, where all is off."""
    drawn = {}
    for name, most in switched_on(rule).items():
        if random.random() < rule.probability:
            drawn[name] = random.uniform(-most if name in SIGNED else 0.0, most)
    return change(image, random, drawn) if drawn else image


def change(image: np.ndarray, random: np.random.Generator, strengths: Mapping[str, float]) -> np.ndarray:
    """The image [H, W, 3], [H, W, 1] or [H, W] with these augmentations at exactly these strengths, a copy."""
    import cv2

    image = _bounded(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    strength = {**dict.fromkeys(PLAIN, 0.0), **strengths}
    image = _geometry(image, random, strength)
    image = _light(image, random, strength)
    height, width = image.shape[:2]
    small = min(1.0, min(height, width) / LEGIBLE)
    if strength['blur']:
        image = cv2.GaussianBlur(image, (0, 0), strength['blur'] * small, borderType=cv2.BORDER_REPLICATE)
    if strength['motion']:
        kernel = _streak(strength['motion'] * small, random.uniform(0, math.pi))
        image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    if strength['downscale']:
        image = _resized(image, 1 - strength['downscale'] * small)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    if strength['noise']:
        noise = random.standard_normal(image.shape, np.float32) * np.float32(strength['noise'])
        image = np.rint(image + noise).clip(0, 255).astype(np.uint8)
    if strength['jpeg']:
        quality = max(1, round(100 - strength['jpeg']))
        data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR if image.ndim == 3 else cv2.IMREAD_GRAYSCALE))
    return image


def _geometry(image: np.ndarray, random: np.random.Generator, strength: Mapping[str, float]) -> np.ndarray:
    """Bent, stretched, turned and with moved corners, in one resampling, on a canvas that holds all of it."""
    if not any(strength[name] for name in ('stretch', 'rotation', 'perspective', 'curve')):
        return image
    import cv2

    height, width = image.shape[:2]
    # Shares of the shorter side keep a tall, narrow image in shape.
    bend = strength['curve'] * min(height, width)
    left, right, top, bottom = -0.5, width - 0.5, -0.5 + min(bend, 0), height - 0.5 + max(bend, 0)  # the pixels' outer edges
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    # Both ways only ever enlarge, so that nothing is lost.
    stretch = strength['stretch']
    moved = corners * (1 + max(stretch, 0), 1 + max(-stretch, 0))
    cosine, sine = math.cos(math.radians(strength['rotation'])), math.sin(math.radians(strength['rotation']))
    if strength['perspective']:
        shift = strength['perspective'] * min(moved[2] - moved[0])
        moved = moved + shift * random.uniform(-1, 1, (4, 2))
    moved = moved @ np.array([(cosine, sine), (-sine, cosine)])
    matrix = _homography(corners, moved)
    # The canvas holds what the bent upper and lower edges become, rather than the corners of their frame.
    columns = np.linspace(left, right, 65 if bend else 2)
    arch = _arch(columns, width, bend)
    edges = np.concatenate([np.stack([columns, arch + side], 1) for side in (-0.5, height - 0.5)])
    outline = cv2.perspectiveTransform(edges[None], matrix)[0]
    low, size = outline.min(0), np.ptp(outline, axis=0)
    scale = min(1.0, LONGEST / size.max(), math.sqrt(MOST_PIXELS / size.prod()))
    columns, rows = (max(1, math.ceil(side * scale - 1e-3)) for side in size)
    onto = np.array([(scale, 0, -0.5 - low[0] * scale), (0, scale, -0.5 - low[1] * scale), (0, 0, 1)]) @ matrix
    if not bend:
        return cv2.warpPerspective(image, onto, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    x, y = _positions(np.linalg.inv(onto), columns, rows)
    y -= _arch(x, width, bend)
    return cv2.remap(image, x.clip(-1, width), y.clip(-1, height), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _homography(corners: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The matrix [3, 3] that takes four points [4, 2] to four others, in double precision.

    OpenCV's own takes single precision, which is half a pixel off at the end of a long image.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1.0).reshape(3, 3)


def _arch(columns: np.ndarray, width: int, bend: float) -> np.ndarray:
    """How far down the baseline is moved in each column: nothing at the ends, `bend` pixels in the middle."""
    place = ((columns + 0.5) / width * 2 - 1).clip(-1, 1)
    return bend * (1 - place * place)


def _positions(matrix: np.ndarray, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the matrix [3, 3] takes each pixel of a canvas: x and y, float32 [rows, columns]."""
    across, down = np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)[:, None]
    x, y, depth = (np.float32(a) * across + (np.float32(b) * down + np.float32(c)) for a, b, c in matrix / matrix[2, 2])
    depth[np.abs(depth) < 1e-6] = 1e-6
    return x / depth, y / depth


def _light(image: np.ndarray, random: np.random.Generator, strength: Mapping[str, float]) -> np.ndarray:
    """Other colours (of an image that has any), then another brightness and contrast."""
    import cv2

    if strength['colour'] and image.ndim == 3:
        saturation, *gains = 1 + strength['colour'] * random.uniform(-1, 1, 4)
        mixture = saturation * np.eye(3) + (1 - saturation) * np.array(GREY)
        image = cv2.transform(image, np.array(gains)[:, None] * mixture)
    if strength['brightness'] or strength['contrast']:
        middle = image.mean()
        table = (np.arange(256) - middle) * (1 + strength['contrast']) + middle + 255 * strength['brightness']
        image = cv2.LUT(image, np.rint(table).clip(0, 255).astype(np.uint8))
    return image


def _streak(length: float, angle: float) -> np.ndarray:
    """The kernel of a motion over so many pixels at this angle: a line whose points share in their four neighbours."""
    reach = math.ceil(length / 2)
    along = np.linspace(-length / 2, length / 2, 8 * math.ceil(length) + 1)
    x, y = along * math.cos(angle), along * math.sin(angle)
    places = np.arange(-reach, reach + 1)[:, None]
    weights = np.maximum(0, 1 - np.abs(places - y)) @ np.maximum(0, 1 - np.abs(places - x)).T
    return (weights / weights.sum()).astype(np.float32)


def _bounded(image: np.ndarray) -> np.ndarray:
    """The image, smaller where it is so large that its changed copies would need much memory."""
    height, width = image.shape[:2]
    scale = min(LONGEST / max(height, width), math.sqrt(MOST_PIXELS / (height * width)))
    return _resized(image, scale) if scale < 1 else image.copy()


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    import cv2

    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
