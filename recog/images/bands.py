"""Large images converted some rows at a time."""

from collections.abc import Callable

import numpy as np

BAND = 1_000_000  # pixels


def banded(height: int, width: int, rows: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """The image [height, width, 3] that `rows(top, bottom)` gives in parts, so that what a conversion needs
    in between stays small."""
    out = np.empty((height, width, 3), np.uint8)
    step = max(1, BAND // max(width, 1))
    for top in range(0, height, step):
        out[top:top + step] = rows(top, min(top + step, height))
    return out
