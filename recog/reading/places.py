"""Where each token of a reading was read from, as weights over the image that the model saw."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.models import RECTIFIED
from recog.reading.read import Reading
from recog.text.vocabulary import Vocab


class Place(NamedTuple):
    """A token, its confidence, and where it was read from: weights [h, w] over the image."""

    token: str
    confidence: float
    weights: np.ndarray


class Seen(NamedTuple):
    """The image as the model saw it, straightened where it does that, uint8 RGB; and the tokens' places."""

    image: np.ndarray
    places: list[Place]


def seen(reading: Reading, vocab: Vocab, rule: ConfigDict) -> Seen:
    """The image without its padding, and the place of each token, of a reading with details."""
    details = reading.details or {}
    tokens = [int(token) for token in details['tokens'] if token >= 0]
    image, covered = _image(details, rule)
    maps = details['attention'][:len(tokens)] if 'attention' in details else \
        along_frames(details['frames'], tokens)
    sure = details['token_confidence']
    return Seen(image, [Place(vocab.decode([token]), float(sure[place]), _cut(maps[place], covered))
                        for place, token in enumerate(tokens)])


def _image(details: Mapping[str, Any], rule: ConfigDict) -> tuple[np.ndarray, tuple[float, float]]:
    """The image, and the share of its height and width that is no padding."""
    if RECTIFIED in details:
        grey = details[RECTIFIED].astype(np.float32).mean(-1)
        low, high = float(grey.min()), float(grey.max())
        levels = ((grey - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
        return np.repeat(levels[..., None], 3, -1), (1.0, 1.0)
    whole, (height, width) = details['image'], (int(side) for side in details['size'])
    pixels = whole[:height, :width, ::-1 if rule.channels == 'bgr' else 1]
    return np.repeat(pixels, 4 - pixels.shape[2], -1)[..., :3], (height / whole.shape[0],
                                                                 width / whole.shape[1])


def _cut(weights: np.ndarray, covered: tuple[float, float]) -> np.ndarray:
    """The cells over the part of the canvas that the image covers."""
    rows, columns = (max(1, math.ceil(cells * share - 1e-6))
                     for cells, share in zip(weights.shape, covered, strict=True))
    return weights[:rows, :columns]


def along_frames(frames: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """Weights [N, 1, T] of CTC's tokens, from the likeliest path through the frames [T, 1 + V] that gives
    them."""
    states = np.zeros(2 * len(tokens) + 1, np.int64)  # blanks around the tokens
    states[1::2] = np.asarray(tokens, np.int64) + 1
    scores = np.log(np.maximum(frames[:, states].astype(np.float64), 1e-30))
    # A token may follow another without a blank between, unless both are the same.
    skips = np.array([place > 1 and place % 2 == 1 and states[place] != states[place - 2]
                      for place in range(len(states))])
    best, came = np.full(len(states), -np.inf), np.zeros(scores.shape, np.int64)
    best[:2] = scores[0, :2]
    for frame in range(1, len(scores)):
        ways = np.stack([best, _moved(best, 1), np.where(skips, _moved(best, 2), -np.inf)])
        came[frame] = ways.argmax(0)
        best = ways.max(0) + scores[frame]
    place = len(states) - 1 - int(len(tokens) > 0 and best[-2] > best[-1])
    weights = np.zeros((len(tokens), 1, len(frames)))
    for frame in range(len(scores) - 1, -1, -1):
        if place % 2:
            weights[place // 2, 0, frame] = frames[frame, states[place]]
        place -= int(came[frame, place])
    return weights


def _moved(values: np.ndarray, steps: int) -> np.ndarray:
    """Values at the places before, from which there is none at first."""
    return np.concatenate([np.full(min(steps, len(values)), -np.inf), values[:-steps]])[:len(values)]
