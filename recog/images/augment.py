"""Training images changed at random: their geometry or ink, then light, sharpness, noise and compression.

Numpy and OpenCV only; every example has one generator of random numbers in an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recog.images import ink, operations, warp

if TYPE_CHECKING:
    from ml_collections import ConfigDict

# Every augmentation in the order in which it is drawn, with a strength at which it is plain to see.
PLAIN = {
    'scale': 0.3, 'stretch': 0.3, 'rotation': 10.0, 'perspective': 0.15, 'curve': 0.4, 'elastic': 3.0,
    'stroke': 1.0, 'brightness': 0.3, 'contrast': 0.5, 'colour': 0.4,
    'blur': 1.5, 'motion': 6.0, 'downscale': 0.6, 'noise': 15.0, 'jpeg': 85.0,
}
# Whose strengths are drawn on both sides of zero.
SIGNED = ('scale', 'stretch', 'rotation', 'curve', 'stroke', 'brightness', 'contrast')
LEGIBLE = 32  # pixels of the shorter side; smaller images are blurred less, in proportion
GREY = (0.114, 0.587, 0.299)  # of blue, green and red


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one example in one epoch: the same in every worker, and after a resume."""
    return np.random.Generator(np.random.Philox(key=(seed, epoch), counter=(0, 0, 0, index)))


def switched_on(rule: ConfigDict) -> dict[str, float]:
    """The augmentations of `config.image.augment` that change anything, with their full strengths."""
    return {name: rule[name] for name in PLAIN if rule[name] > 0} if rule.probability > 0 else {}


def augments(rule: ConfigDict) -> bool:
    """Whether `config.image.augment` changes anything."""
    return bool(switched_on(rule)) or operates(rule)


def operates(rule: ConfigDict) -> bool:
    """Whether `config.image.augment` has operations on whole images."""
    return rule.operations > 0 and rule.probability > 0


def augment(
    image: np.ndarray, random: np.random.Generator, rule: ConfigDict, strokes: Sequence[np.ndarray] = (),
    room: warp.Room | None = None
) -> np.ndarray:
    """The uint8 image, or the ink that it was drawn from, changed at random within `config.image.augment`.

    If all is off it is the image itself, and no random number is drawn. `augment_many` draws the same
    numbers, to know the size of the result.
    """
    drawn = {}
    for name, most in switched_on(rule).items():
        if random.random() < rule.probability:
            drawn[name] = random.uniform(-most if name in SIGNED else 0.0, most)
    image = change(image, random, drawn, strokes, room) if drawn else image
    if operates(rule):
        image = operations.randomly(image, random, rule.operations, rule.magnitude, rule.probability)
    return image


def change(
    image: np.ndarray, random: np.random.Generator, strengths: Mapping[str, float],
    strokes: Sequence[np.ndarray] = (), room: warp.Room | None = None
) -> np.ndarray:
    """A copy of the image [H, W, 3], [H, W, 1] or [H, W] with these augmentations at exactly these strengths.

    If the `strokes` that it was drawn from are known, they are moved and drawn anew instead of its pixels.
    What would be larger than the room by its geometry is made smaller by the same movement.
    """
    import cv2

    strength = {**dict.fromkeys(PLAIN, 0.0), **strengths}
    if strokes and any(strength[name] for name in (*warp.NAMES, 'stroke')):
        image = _bounded(_redrawn(strokes, random, strength, room))
    else:
        image = _bounded(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
        movement = warp.random_warp((image.shape[0], image.shape[1]), random, strength)
        image = image if movement is None else warp.move_image(movement, image, room)
        image = _thicker(image, strength['stroke']) if strength['stroke'] else image
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


def centred(image: np.ndarray, canvas: tuple[int, ...]) -> np.ndarray:
    """The middle of an image, of the shape [H, W, C] of a canvas; where it is smaller, its edges go on."""
    image = image.reshape(*image.shape[:2], canvas[2])
    around = [max(0, wanted - side) for wanted, side in zip(canvas[:2], image.shape[:2], strict=True)]
    image = np.pad(image, [(room // 2, room - room // 2) for room in around] + [(0, 0)], 'edge')
    top, left = ((side - wanted) // 2 for wanted, side in zip(canvas[:2], image.shape[:2], strict=True))
    return image[top:top + canvas[0], left:left + canvas[1]]


def _redrawn(strokes: Sequence[np.ndarray], random: np.random.Generator, strength: Mapping[str, float],
             room: warp.Room | None) -> np.ndarray:
    """The ink moved point by point and drawn anew, as sharp as before, by a pen as thick as `stroke` says."""
    placed = ink.pixels(strokes)
    height, width = (math.ceil(side) + ink.MARGIN + 1 for side in np.concatenate(placed).max(0)[::-1])
    movement = warp.random_warp((height, width), random, strength)
    moved = placed if movement is None else [warp.move_points(movement, stroke) for stroke in placed]
    if room is not None:
        extent = np.ptp(np.concatenate(moved), axis=0)
        moved = [stroke * warp.shrinking(extent[None], ink.room(room))[0] for stroke in moved]
    return ink.draw(moved, height=None, pen=max(1, ink.PEN + round(strength['stroke'])))


def _thicker(image: np.ndarray, pixels: float) -> np.ndarray:
    """Lines thicker, or thinner, by so many pixels; ink is what covers less than half of the picture."""
    import cv2

    light = image.mean() < 127.5
    change = cv2.dilate if (pixels > 0) == light else cv2.erode
    whole, part = divmod(abs(pixels), 1)
    # A square of 2 x 2 adds one pixel to each line; the part of a pixel is a mixture.
    for _ in range(int(whole)):
        image = change(image, np.ones((2, 2), np.uint8), borderType=cv2.BORDER_REPLICATE)
    more = change(image, np.ones((2, 2), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return cv2.addWeighted(image, 1 - part, more, part, 0)


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
    """The kernel of a motion over so many pixels at this angle: a line, each point shared by four pixels."""
    reach = math.ceil(length / 2)
    along = np.linspace(-length / 2, length / 2, 8 * math.ceil(length) + 1)
    x, y = along * math.cos(angle), along * math.sin(angle)
    places = np.arange(-reach, reach + 1)[:, None]
    weights = np.maximum(0, 1 - np.abs(places - y)) @ np.maximum(0, 1 - np.abs(places - x)).T
    return (weights / weights.sum()).astype(np.float32)


def _bounded(image: np.ndarray) -> np.ndarray:
    """The image, made smaller if it is so large that changed copies would take much memory."""
    height, width = image.shape[:2]
    scale = min(warp.LONGEST / max(height, width), math.sqrt(warp.MOST_PIXELS / (height * width)))
    return _resized(image, scale) if scale < 1 else image.copy()


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    import cv2

    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
