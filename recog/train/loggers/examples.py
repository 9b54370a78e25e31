"""What loggers are shown of a set besides its figures: its first images with what was read of them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recog.data.rows import Source
from recog.evaluation.results import Prediction, Result

SHOWN = 32  # examples of a set
COLUMNS = ('image', 'truth', 'text', 'confidence', 'right')  # of the table that they stand in


class Example(NamedTuple):
    """An image [H, W] or [H, W, 3] in RGB, with what was read of it."""

    image: np.ndarray
    prediction: Prediction


def examples(source: Source, result: Result) -> list[Example]:
    """The first examples of a set; unreadable images are none."""
    count = min(SHOWN, len(result.predictions))
    rows = [row.image for row in source.rows(range(min(len(source), 2 * SHOWN))) if row.image is not None]
    return [Example(_rgb(image), each)
            for image, each in zip(rows[:count], result.predictions[:count], strict=False)]


def row(example: Example) -> tuple[str, str, float, bool]:
    """The columns of an example besides its image."""
    read = example.prediction
    return read.truth, read.text, read.confidence, read.right


def name(words: Sequence[str]) -> str:
    """Words joined to a name that both programs allow."""
    return re.sub(r'[^\w./ :-]', '_', '/'.join(words))


def _rgb(image: np.ndarray) -> np.ndarray:
    """Pixels as these programs want them; OpenCV's colours stand in the other order."""
    if image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    return np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image
