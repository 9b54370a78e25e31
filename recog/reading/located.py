"""Where each token of a reading stands in the image that was given: centre and extent in its own pixels.

The maps of the model lie over the image that it saw. From there the way leads back through the rectification,
the fit onto the canvas, the adaption to the training images, and the turn in which it was read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.errors import ConfigError
from recog.models import RECTIFIED
from recog.models.parts import spline
from recog.reading import adapt
from recog.reading.places import along_frames
from recog.reading.read import Reading
from recog.text.vocabulary import Vocab

WEAK = 0.1  # share of a map's largest weight below which a cell does not count
SIDES = 9  # points along each side of a box whose places say where the box is


class Located(NamedTuple):
    """A token, its confidence, its centre (x, y), and its box (left, top, right, bottom)."""

    token: str
    confidence: float
    centre: tuple[float, float]
    box: tuple[float, float, float, float]

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {'text': self.token, 'confidence': round(self.confidence, 4),
                'centre': [round(side, 1) for side in self.centre],
                'box': [round(side, 1) for side in self.box]}


def located(reading: Reading, image: np.ndarray, vocab: Vocab, rule: ConfigDict, invert: str = '',
            middle: tuple[float, float] = (0.5, 0.5)) -> list[Located]:
    """Where each token of a reading with details stands in the image [H, W, ...] that was given.

    `invert` is what the recognizer adapted the image by; '' if it did not. `middle` is that of the model's
    `About`.
    """
    details = reading.details or {}
    tokens = [int(token) for token in details['tokens'] if token >= 0]
    if not tokens:
        return []
    centres, boxes = _on_canvas(_maps(details, tokens), details, middle)
    back = _Back(reading, image, rule, invert)
    found = []
    for place, token in enumerate(tokens):
        x, y = back(centres[place:place + 1])[0].tolist()
        around = back(_outline(boxes[place]))
        box = *around.min(0).tolist(), *around.max(0).tolist()
        found.append(Located(vocab.decode([token]), float(details['token_confidence'][place]), (x, y), box))
    return found


def _maps(details: Mapping[str, Any], tokens: Sequence[int]) -> np.ndarray:
    """The map [h, w] of each token."""
    if 'attention' in details:
        return np.asarray(details['attention'][:len(tokens)], np.float64)
    if 'frames' in details:
        return along_frames(details['frames'], tokens)
    raise ConfigError('--places: this model has no maps of where it reads a token')


def _on_canvas(maps: np.ndarray, details: Mapping[str, Any],
               middle: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Centres [N, 2] and boxes [N, 4] of maps [N, h, w] in pixels of the image that the maps lie over."""
    over = details[RECTIFIED] if RECTIFIED in details else details['image']
    cell = np.array([over.shape[1] / maps.shape[2], over.shape[0] / maps.shape[1]])
    strong = np.where(maps >= WEAK * maps.max((1, 2), keepdims=True), maps, 0) + 1e-12
    y, x = np.mgrid[:maps.shape[1], :maps.shape[2]] + np.reshape(middle, (2, 1, 1))
    places = np.stack([x, y], -1).reshape(-1, 2) * cell
    shares = strong.reshape(len(maps), -1)
    shares /= shares.sum(1, keepdims=True)
    centres = shares @ places
    # As wide as what is evenly dark and has this variance, to which the cells themselves contribute.
    half = np.sqrt(3 * np.maximum(shares @ np.square(places) - np.square(centres), 0) + np.square(cell) / 4)
    boxes = np.concatenate([centres - half, centres + half], 1)
    if maps.shape[1] == 1:  # a line: characters meet in the middle, and are as high as it
        ends = (0.0, over.shape[1]) if RECTIFIED in details else (0.0, float(details['size'][1]))
        boxes[:, [0, 2]] = _side_by_side(centres[:, 0], ends)
        boxes[:, [1, 3]] = 0.0, over.shape[0]
    return centres, boxes


def _side_by_side(centres: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Left and right [N, 2] of characters of a line with these centres."""
    order = np.argsort(centres, kind='stable')
    sorted_ = centres[order]
    middles = (sorted_[1:] + sorted_[:-1]) / 2
    first, last = ends
    if len(middles):  # the outer ones are as wide outwards as inwards
        first, last = max(first, 2 * sorted_[0] - middles[0]), min(last, 2 * sorted_[-1] - middles[-1])
    edges = np.concatenate([[first], middles, [last]])
    found = np.empty((len(centres), 2))
    found[order] = np.stack([edges[:-1], edges[1:]], 1)
    return found


def _outline(box: np.ndarray) -> np.ndarray:
    """Points along the sides of a box."""
    left, top, right, bottom = box
    along = np.linspace(0, 1, SIDES)
    x, y = left + along * (right - left), top + along * (bottom - top)
    return np.concatenate([np.stack(each, 1) for each in (
        (x, np.full(SIDES, top)), (x, np.full(SIDES, bottom)), (np.full(SIDES, left), y),
        (np.full(SIDES, right), y))])


class _Back:
    """Takes points [N, 2] of the image that the maps lie over to the image that was given."""

    def __init__(self, reading: Reading, image: np.ndarray, rule: ConfigDict, invert: str):
        self.details, self.turns = reading.details or {}, reading.turned // 90
        self.height, self.width = image.shape[:2]
        turned = np.rot90(image, self.turns)
        self.move = adapt.SAME_PLACE
        shape = turned.shape[:2]
        if invert and rule.ink:
            adapted, self.move = adapt.adapted_by(np.ascontiguousarray(turned), rule, invert)
            shape = adapted.shape[:2]
        fitted, self.corner = _fitted(self.details, shape, rule)
        self.scale = np.array([shape[1] / fitted[1], shape[0] / fitted[0]])

    def __call__(self, points: np.ndarray) -> np.ndarray:
        if RECTIFIED in self.details:
            points = _unrectified(points, self.details)
        x, y = self.move.back((points - self.corner) * self.scale).T
        for turn in reversed(range(self.turns)):  # a quarter after another
            x, y = (self.height if turn % 2 else self.width) - y, x
        return np.clip(np.stack([x, y], 1), 0, (self.width, self.height))


def _fitted(details: Mapping[str, Any], shape: tuple[int, int],
            rule: ConfigDict) -> tuple[tuple[float, float], np.ndarray]:
    """Height and width that an image of this shape has on its canvas, and where its corner lies (x, y)."""
    height, width = details['image'].shape[:2]
    if rule.fit != 'thumbnail':
        return (float(details['size'][0]), float(details['size'][1])), np.zeros(2)
    share = min(height / shape[0], width / shape[1], 1.0)
    fitted = max(1, round(shape[0] * share)), max(1, round(shape[1] * share))
    return fitted, np.array([(width - fitted[1]) // 2, (height - fitted[0]) // 2])


def _unrectified(points: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    """Points [N, 2] of the rectified image as points of the image before."""
    to, come = (np.array(details[name].shape[1::-1]) for name in (RECTIFIED, 'image'))
    places = spline.moved(2 * points / to - 1, np.asarray(details['fiducials'], np.float64))
    return (places + 1) / 2 * (come - 1) + 0.5  # -1 and 1 are the centres of the outer pixels
