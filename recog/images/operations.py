"""RandAugment's operations on whole images, with the ranges that PARSeq's authors gave them for words.

Cubuk et al. (2019, arXiv 1909.13719), as timm carries them out with Pillow; sharpness is left out, and blur
and Poisson noise are added. A magnitude is a share of each range; it is never varied, but signs are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recog.images import warp

if TYPE_CHECKING:
    from PIL.Image import Image

WHOLE = 10.0  # the largest magnitude
GREY = 128  # of what comes in from outside the image
LOUDEST = 255


class Operation(NamedTuple):
    """An operation: an image and an argument to an image, and the argument at a magnitude from 0 to 1; one
    that is `signed` is drawn on both sides of 0, one that is `resampled` takes a filter too."""

    change: Callable[..., Any]
    argument: Callable[[float], float] = lambda share: share
    signed: bool = False
    resampled: bool = False


def apply(image: np.ndarray, name: str, argument: float, *, bicubic: bool = False,
          random: np.random.Generator | None = None) -> np.ndarray:
    """The uint8 image [H, W, 3] (blue first), [H, W, 1] or [H, W] after an operation with its argument.

    Random numbers are for noise alone.
    """
    from PIL import Image

    plain = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    picture = Image.fromarray(np.ascontiguousarray(plain[..., ::-1] if plain.ndim == 3 else plain))
    operation = OPERATIONS[name]
    extra = [Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR] * operation.resampled
    done = np.asarray(operation.change(picture, argument, *extra, *([random] if name == NOISE else [])))
    done = done[..., ::-1] if done.ndim == 3 else done
    return np.ascontiguousarray(done.reshape(*done.shape[:2], *image.shape[2:]))


def drawn(random: np.random.Generator, count: int, magnitude: float,
          probability: float) -> Iterator[tuple[str, float, bool]]:
    """So many different operations, of which each is left out or comes with its argument and filter."""
    names = list(OPERATIONS)
    for place in random.permutation(len(names))[:count]:
        numbers = random.random(3)
        if numbers[0] < probability:
            operation = OPERATIONS[names[place]]
            size = operation.argument(magnitude / WHOLE)
            yield names[place], -size if operation.signed and numbers[1] < 0.5 else size, numbers[2] < 0.5


def randomly(image: np.ndarray, random: np.random.Generator, count: int, magnitude: float,
             probability: float) -> np.ndarray:
    """The image after operations that are drawn."""
    for name, argument, bicubic in list(drawn(random, count, magnitude, probability)):
        image = apply(image, name, argument, bicubic=bicubic, random=random)
    return image


def _by_pillow(name: str) -> Callable[..., Any]:
    """A function of Pillow's `ImageOps`."""
    def change(image: Image, argument: float) -> Image:
        from PIL import ImageOps

        whole = [int(argument)] if name in ('posterize', 'solarize') else []
        done: Image = getattr(ImageOps, name)(image, *whole)
        return done
    return change


def _enhanced(name: str) -> Callable[..., Any]:
    """A class of Pillow's `ImageEnhance`; its factor is 1 where nothing changes."""
    def change(image: Image, argument: float) -> Image:
        from PIL import ImageEnhance

        done: Image = getattr(ImageEnhance, name)(image).enhance(max(0.1, 1 + argument))
        return done
    return change


def _outside(image: Image) -> Any:
    return GREY if image.mode == 'L' else (GREY,) * 3


def _rotated(image: Image, degrees: float, resample: Any) -> Image:
    """The image on a canvas that holds all of it; so long ones are made smaller that it has room in memory.
    """
    (width, height), turn = image.size, math.radians(degrees)
    sine, cosine = abs(math.sin(turn)), abs(math.cos(turn))
    pixels = (width * cosine + height * sine) * (width * sine + height * cosine)
    if pixels > warp.MOST_PIXELS:
        share = math.sqrt(warp.MOST_PIXELS / pixels)
        image = image.resize((max(1, int(width * share)), max(1, int(height * share))))
    return image.rotate(degrees, resample=resample, expand=True, fillcolor=_outside(image))


def _affine(place: int, along: int | None = None) -> Callable[..., Any]:
    """One number of the affine matrix; with `along`, as a share of that side."""
    def change(image: Image, argument: float, resample: Any) -> Image:
        from PIL import Image as pillow

        matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        matrix[place] = argument if along is None else argument * image.size[along]
        return image.transform(image.size, pillow.Transform.AFFINE, tuple(matrix), resample=resample,
                               fillcolor=_outside(image))
    return change


def _lighter_darks(image: Image, added: float) -> Image:
    table = [min(LOUDEST, value + int(added)) if value < 128 else value for value in range(256)]
    return image.point(table * len(image.getbands()))


def _at_most(size: float, image: Image, share: float) -> int:
    """The size of a filter: at most a share of the longer side, but 1."""
    return round(min(size, max(1, share * max(image.size))))


def _blurred(image: Image, radius: float) -> Image:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(_at_most(radius, image, 0.02)))


def _noisy(image: Image, mean: float, random: np.random.Generator) -> np.ndarray:
    """Each pixel lighter or darker, in all channels alike."""
    values = np.asarray(image, np.int32)
    noise = random.poisson(_at_most(mean, image, 0.2) | 1, values.shape[:2]) * random.choice(
        (-1, 1), values.shape[:2])
    return (values + (noise[..., None] if values.ndim == 3 else noise)).clip(0, LOUDEST).astype(np.uint8)


NOISE = 'PoissonNoise'
OPERATIONS: dict[str, Operation] = {
    'AutoContrast': Operation(_by_pillow('autocontrast')),
    'Equalize': Operation(_by_pillow('equalize')),
    'Invert': Operation(_by_pillow('invert')),
    'Rotate': Operation(_rotated, lambda share: 30 * share, signed=True, resampled=True),
    'PosterizeIncreasing': Operation(_by_pillow('posterize'), lambda share: 4 - int(4 * share)),
    'SolarizeIncreasing': Operation(_by_pillow('solarize'), lambda share: 256 - int(256 * share)),
    'SolarizeAdd': Operation(_lighter_darks, lambda share: min(128, int(110 * share))),
    'ColorIncreasing': Operation(_enhanced('Color'), lambda share: 0.9 * share, signed=True),
    'ContrastIncreasing': Operation(_enhanced('Contrast'), lambda share: 0.9 * share, signed=True),
    'BrightnessIncreasing': Operation(_enhanced('Brightness'), lambda share: 0.9 * share, signed=True),
    'ShearX': Operation(_affine(1), lambda share: 0.9 * share, signed=True, resampled=True),
    'ShearY': Operation(_affine(3), lambda share: 0.2 * share, signed=True, resampled=True),
    'TranslateXRel': Operation(_affine(2, 0), lambda share: 0.1 * share, signed=True, resampled=True),
    'TranslateYRel': Operation(_affine(5, 1), lambda share: 0.3 * share, signed=True, resampled=True),
    'GaussianBlur': Operation(_blurred, lambda share: 4 * share),
    NOISE: Operation(_noisy, lambda share: 40 * share),
}
