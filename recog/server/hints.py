"""Hints about images that are unlike those that a model was trained on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

NARROWEST, WIDEST = 0.6, 4.0  # of a word: width / height, and that as a multiple of the recipe's
LINES = 3  # rows of ink from which on an image is a page
SIDE = 256  # pixels of the height at which rows are counted
FAINT = 0.03  # share of a row that is ink, at least
GAP, ROW = 2, 3  # rows of pixels between two lines, and in one, at least


def hint(image: np.ndarray, about: Mapping[str, Any]) -> str:
    """What makes the image unlike a word, for a model of words; '' where nothing does."""
    if about['formula']:
        return ''
    height, width = image.shape[:2]
    many = lines(image)
    if many >= LINES:
        return (f'The image seems to hold {many} lines of text, and this model reads one word: crop a word.')
    widest = WIDEST * about['shape'][1] / about['shape'][0]
    if not NARROWEST <= width / height <= widest:
        unlike = 'higher than wide' if width < height else f'{width / height:.0f} times as wide as high'
        return f'The image is {unlike} ({width} x {height}), and this model reads one word: crop a word.'
    return ''


def lines(image: np.ndarray) -> int:
    """How many bands of ink lie below one another, with paper between them."""
    import cv2

    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    scale = min(1.0, SIDE / grey.shape[0], 4 * SIDE / grey.shape[1])
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    _, light = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    ink = light if light.mean() < 0.5 else 1 - light  # there is less ink than paper
    rows = ink.mean(1) > FAINT
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(np.int8)))
    bands = edges.reshape(-1, 2).tolist()
    merged: list[list[int]] = []
    for start, end in bands:
        if merged and start - merged[-1][1] < GAP:
            merged[-1][1] = end
        else:
            merged.append([start, end])
    return sum(end - start >= ROW for start, end in merged)
