"""Pictures of how an image was read: the image as the model saw it, and for each token where the model
looked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from recog.metrics.formulas import well_formed
from recog.models import RECTIFIED
from recog.reading.read import Reading
from recog.text.latex import to_latex
from recog.text.vocabulary import Vocab

HEAT = 'inferno'
MARK = '#00b4d8'
MOST_TOKENS, MOST_COUNTED = 40, 8  # pictured one by one
SEEN = 0.5  # times that a token must be counted to be pictured
AS_SET = 'as LaTeX sets it'
LIKELY = 0.05  # classes that reach this probability in some frame are shown


class Pictures:
    """Draws one picture for each image that was read, named by the image."""

    def __init__(self, folder: Path, recognizer: Any):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.count = folder, 0
        self._vocab, self._rule = recognizer.opened.vocab, recognizer.config.image

    def draw(self, reading: Reading, name: str) -> Path:
        """The picture of one reading; names that occur twice get a number."""
        file = self.folder / f'{Path(name).stem}.png'
        if file.exists() and self.count:
            file = self.folder / f'{Path(name).stem}-{reading.row}.png'
        draw(reading, self._vocab, self._rule, file)
        self.count += 1
        return file


def draw(reading: Reading, vocab: Vocab, rule: ConfigDict, file: Path) -> None:
    """The image as fitted, and straightened where the model does that; then the maps that the model gives."""
    from matplotlib.figure import Figure

    details = reading.details or {}
    tokens = [vocab.decode([int(token)]) for token in details['tokens'] if token >= 0]
    tops = _tops(details, tokens, vocab, rule)
    maps = [*(_maps(details, tokens) if 'attention' in details else []),
            *(_counting(details, vocab) if 'counting' in details else [])]
    under = next(image for title, image, _ in reversed(tops) if title != AS_SET)
    columns = max(2, min(4, len(maps)))
    rows = -(-len(maps) // columns)
    ratio = under.shape[0] / under.shape[1]
    tall = [1.0] + [1.0] * rows + ([2.4] if 'frames' in details else [])
    figure = Figure(figsize=(11, 0.6 + sum(tall) * (11 / columns * ratio + 0.35)), layout='constrained')
    figure.suptitle(_safe(f'{_short(reading.text) or "(nothing)"}   {reading.confidence:.3f}'),
                    family='monospace')
    parts = figure.subfigures(len(tall), 1, height_ratios=tall, squeeze=False)[:, 0]
    for cell, top in zip(np.atleast_1d(parts[0].subplots(1, len(tops))), tops, strict=True):
        _top(cell, *top)
    for row in range(rows):
        shown = maps[row * columns:(row + 1) * columns]
        cells = parts[1 + row].subplots(1, columns)
        for cell, (title, heat) in zip(cells, shown, strict=False):
            _over(cell, under, heat, title)
        for cell in cells[len(shown):]:
            cell.set_axis_off()
    if 'frames' in details:
        _frames(parts[-1], _shown(details['image'], rule), details['frames'], vocab)
    figure.savefig(file, dpi=110)


def _tops(details: dict[str, Any], tokens: Sequence[str], vocab: Vocab,
          rule: ConfigDict) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """A title, an image and the points on it for each image above the maps."""
    tops = [('as the model sees it', _shown(details['image'], rule), details.get('fiducials'))]
    if RECTIFIED in details:
        tops.append((RECTIFIED, _levels(details[RECTIFIED]), None))
    if vocab.separator:
        tops.append((AS_SET, _formula(tokens), None))
    return tops


def _top(cell: Any, title: str, image: np.ndarray, points: np.ndarray | None) -> None:
    """An image, with points whose coordinates go from -1 to 1."""
    _image(cell, image, title)
    if points is not None:
        x, y = ((points[:, axis] + 1) / 2 * (image.shape[1 - axis] - 1) for axis in (0, 1))
        cell.plot(x, y, linestyle='', marker='o', markersize=4, color=MARK, markeredgecolor='white',
                  clip_on=False)


def _over(cell: Any, under: np.ndarray, heat: np.ndarray, title: str) -> None:
    """A map over the image that it belongs to."""
    _image(cell, under, title)
    cell.imshow(heat, cmap=HEAT, alpha=0.65, extent=(-0.5, under.shape[1] - 0.5, under.shape[0] - 0.5, -0.5),
                interpolation='bilinear', aspect='equal')


def _counting(details: dict[str, Any], vocab: Vocab) -> list[tuple[str, np.ndarray]]:
    """A title and the map [h, w] of where it is counted for each token that the model thinks stands there,
    the most first."""
    counts, shares = details['counts'], details['counting']
    found = np.flatnonzero(counts >= SEEN)
    most = found[np.argsort(-counts[found], kind='stable')][:MOST_COUNTED]
    return [(f'counted {vocab.decode([index])!r} {counts[index]:.1f} times', shares[..., index])
            for index in most.tolist()]


def _short(text: str | None, most: int = 110) -> str:
    return '' if not text else text if len(text) <= most else f'{text[:most]} ...'


def _formula(tokens: Sequence[str]) -> np.ndarray:
    """The formula as mathtext draws it, uint8 [H, W]; where the LaTeX is broken, these words."""
    import io

    import cv2
    from matplotlib import mathtext
    from matplotlib.font_manager import FontProperties

    right = bool(tokens) and well_formed(tokens)
    drawn, file = f'${to_latex(tokens, limits=False)}$' if right else 'not well-formed', io.BytesIO()
    mathtext.math_to_image(drawn, file, prop=FontProperties(size=22), dpi=110, format='png')
    return np.asarray(cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_GRAYSCALE))


def _maps(details: dict[str, Any], tokens: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """A title and weights [h, w] for each token, the first MOST_TOKENS of them."""
    sure = details['token_confidence']
    return [(f'{token!r} {sure[place]:.3f}', details['attention'][place])
            for place, token in enumerate(tokens[:MOST_TOKENS])]


def _frames(part: Any, image: np.ndarray, frames: np.ndarray, vocab: Vocab) -> None:
    """The probability of each class in each frame [T, 1 + V], below the image that the frames cover."""
    top, below = part.subplots(2, 1, height_ratios=(1, 3), sharex=True)
    count = frames.shape[0]
    top.imshow(image, cmap='gray', aspect='auto', extent=(-0.5, count - 0.5, image.shape[0], 0))
    top.set_axis_off()
    classes = [0, *(index for index in range(1, frames.shape[1]) if frames[:, index].max() >= LIKELY)]
    below.imshow(frames[:, classes].T, cmap=HEAT, vmin=0, vmax=1, aspect='auto', interpolation='nearest')
    names = ['blank', *(_safe(vocab.decode([index - 1])) for index in classes[1:])]
    below.set_yticks(range(len(classes)), names, family='monospace')
    below.set_xlabel('frame')


def _image(cell: Any, image: np.ndarray, title: str) -> None:
    cell.imshow(image, cmap='gray', aspect='equal')
    cell.set_title(_safe(title), fontsize=9, family='monospace')
    cell.set_axis_off()


def _shown(image: np.ndarray, rule: ConfigDict) -> np.ndarray:
    """Pixels [H, W, C] as matplotlib shows them: RGB, or grey without its axis."""
    if image.shape[2] == 1:
        return image[:, :, 0]
    return image[:, :, ::-1] if rule.channels == 'bgr' else image


def _levels(values: np.ndarray) -> np.ndarray:
    """Normalised values [H, W, C] as grey levels over their whole range."""
    grey = values.mean(-1)
    low, high = float(grey.min()), float(grey.max())
    return (grey - low) / max(high - low, 1e-6)


def _safe(text: str) -> str:
    return text.replace('$', r'\$')
