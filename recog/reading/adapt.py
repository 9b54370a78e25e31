"""Photographs, black ink on white and other sizes, brought to the form of a model's training images.

Only recipes that say what their ink looks like (`image.ink`, `image.symbol`) do this, in prediction and where
an evaluation asks for it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.data.rows import PackedSource, Row, Source
from recog.errors import ConfigError
from recog.images.fit import shrunk

MARGIN = 13  # pixels around the ink, as in the bitmaps of CROHME
# Shares of the recipe's height of symbols between which an image is not rescaled. Of CROHME's formulas 97 %
# are, and 9 of 10 are not at half their size.
SAME = 0.7, 1.5
BINARY = 0.9  # share of black and white pixels from which on an image is no photograph
SMALLEST = 0.1  # symbols lower than this share of the highest say nothing of the size
SPECK = 1 / 500  # of an image's longer side; what is smaller in both directions is dust
MOST_PIXELS = 2_000_000  # a larger image is shrunk before anything is found out about it
SURROUNDINGS = 512  # pixels of the longer side at which the paper's light is found; it needs no detail


class Move(NamedTuple):
    """How an image was scaled and cut: a place (x, y) of it was at `scale` times the place, plus `shift`."""

    scale: np.ndarray
    shift: np.ndarray

    def back(self, points: np.ndarray) -> np.ndarray:
        """Where points [N, 2] were."""
        return points * self.scale + self.shift


SAME_PLACE = Move(np.ones(2), np.zeros(2))


class Adapted:
    """A source whose images are adapted to the rule of a recipe."""

    def __init__(self, source: Source, rule: ConfigDict, invert: str):
        self.name, self._source, self._rule, self._invert = source.name, source, rule, invert

    def __len__(self) -> int:
        return len(self._source)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return self._source.labels(indices)

    def rows(self, indices: Sequence[int]) -> Iterator[Row]:
        for row in self._source.rows(indices):
            drawn = len(row.strokes) > 0  # as in training already
            yield row if row.image is None or drawn else row._replace(
                image=adapted(row.image, self._rule, self._invert))


def adapted_source(source: Source, rule: ConfigDict) -> Adapted:
    """The source with its images adapted, to be measured as they are predicted."""
    if isinstance(source, PackedSource):
        raise ConfigError(f'{source.name} cannot be adapted: it is packed for a recipe, and holds images '
                          'that are fitted already; name the set that it was packed from')
    return Adapted(source, rule, 'auto')


def adapted(image: np.ndarray, rule: ConfigDict, invert: str = 'auto') -> np.ndarray:
    """uint8 [H, W, 3] as uint8 [H', W'] with ink and symbols as the recipe's training images have them.

    An image that has that form already stays as it is.
    `invert` says whether the image has the opposite ink: yes, no or auto.
    """
    return adapted_by(image, rule, invert)[0]


def adapted_by(image: np.ndarray, rule: ConfigDict, invert: str = 'auto') -> tuple[np.ndarray, Move]:
    """The image that `adapted` gives, and where its places were before."""
    import cv2

    has_colours = image.ndim == 3 and image.shape[2] == 3
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if has_colours else image.reshape(image.shape[:2])
    first, grey = grey.shape, _at_most(grey, MOST_PIXELS)
    dark = float(np.median(grey)) > 127.5 if invert == 'auto' else (rule.ink == 'light') == (invert == 'yes')
    light_ink = 255 - grey if dark else grey
    if ((light_ink < 32) | (light_ink > 223)).mean() < BINARY:
        light_ink = _flat(light_ink)
    light_ink, move = _sized(light_ink, rule)
    share = np.array(first[::-1]) / grey.shape[::-1]
    return (light_ink if rule.ink == 'light' else 255 - light_ink,
            Move(move.scale * share, move.shift * share))


def _at_most(image: np.ndarray, pixels: int) -> np.ndarray:
    """The image, shrunk to this number of pixels if it has more."""
    height, width = image.shape
    share = math.sqrt(pixels / image.size)
    return image if share >= 1 else shrunk(image, max(1, int(height * share)), max(1, int(width * share)))[0]


def _flat(light_ink: np.ndarray) -> np.ndarray:
    """A photograph's ink without its paper: what is lighter than its surroundings, and all else black."""
    import cv2

    small, _ = shrunk(light_ink, SURROUNDINGS, SURROUNDINGS)
    size = max(small.shape) // 16 * 2 + 1
    ground = cv2.GaussianBlur(cv2.erode(small, np.ones((size, size), np.uint8)), (0, 0), size / 2)
    if small.shape != light_ink.shape:
        ground = cv2.resize(ground, light_ink.shape[::-1], interpolation=cv2.INTER_LINEAR)
    above = cv2.subtract(cv2.GaussianBlur(light_ink, (0, 0), 0.8), ground)
    level, _ = cv2.threshold(above, 0, 255, cv2.THRESH_OTSU)
    # A soft step around Otsu's level keeps the edges of the strokes.
    scaled = (above.astype(np.float32) - level) * (255 / max(level, 1.0)) + 127.5
    return np.clip(scaled, 0, 255).astype(np.uint8)


def symbol_height(light_ink: np.ndarray) -> float:
    """The mean height of the connected pieces of ink, without dust and the smallest ones; 0 if there is no
    ink."""
    import cv2

    count, _, facts, _ = cv2.connectedComponentsWithStats((light_ink > 127).astype(np.uint8), connectivity=8)
    heights, widths = facts[1:count, cv2.CC_STAT_HEIGHT], facts[1:count, cv2.CC_STAT_WIDTH]
    heights = heights[np.maximum(heights, widths) > SPECK * max(light_ink.shape)]
    heights = heights[heights > SMALLEST * heights.max()] if len(heights) else heights
    return float(heights.mean()) if len(heights) else 0.0


def _sized(light_ink: np.ndarray, rule: ConfigDict) -> tuple[np.ndarray, Move]:
    """The image scaled to symbols of the rule's height, and cut to its ink and the usual margin; no
    ink grows beyond the largest canvas."""
    import cv2

    height = symbol_height(light_ink)
    if not rule.symbol or not height or SAME[0] <= height / rule.symbol <= SAME[1]:
        return light_ink, SAME_PLACE
    rows, columns = (np.flatnonzero((light_ink > 127).any(axis)) for axis in (1, 0))
    ink = light_ink[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    room = min(rule.height / ink.shape[0], rule.width / ink.shape[1])
    scale = min(rule.symbol / height, max(1.0, room))
    size = max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale))
    resized: Any = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    back = np.array(ink.shape[::-1]) / size
    return np.pad(resized, MARGIN), Move(back, (columns[0], rows[0]) - MARGIN * back)
