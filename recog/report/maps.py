"""Pictures of feature maps: the strongest channels of a stage, and the strongest of all over the image."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from recog.looks.charts import figure as new_figure
from recog.models import RECTIFIED
from recog.reading.explain import HEAT
from recog.reading.read import Reading

CHANNELS, COLUMNS = 16, 4
WIDTH, TALLEST = 10.0, 1.0  # inches; height of a picture as a share of its width, at most


class Cut(NamedTuple):
    """An image without its padding, the cells of the maps over it, and the region (left, right, bottom, top)
    they cover."""

    image: np.ndarray
    maps: np.ndarray  # [h, w, C]
    region: tuple[float, float, float, float]


def stage(reading: Reading, found: Mapping[str, np.ndarray], name: str, bgr: bool) -> Any:
    """A figure of the stage `name` in the result of `gallery.features`: the image, its strongest channel over
    it, and the strongest channels side by side."""
    cut = _cut(reading.details or {}, found, name, bgr)
    strengths = cut.maps.max((0, 1))
    order = np.argsort(-strengths, kind='stable')[:CHANNELS]
    ratio = min(cut.image.shape[0] / cut.image.shape[1], TALLEST)
    rows = -(-len(order) // COLUMNS)
    tall = WIDTH / 2 * ratio + 0.35, rows * (WIDTH / COLUMNS * ratio + 0.3)
    figure = new_figure(WIDTH, sum(tall))
    top, below = figure.subfigures(2, 1, height_ratios=tall)
    image, heat = top.subplots(1, 2)
    _show(image, cut.image, RECTIFIED if RECTIFIED in found else 'as the model sees it')
    _show(heat, cut.image, f'channel {order[0]}, response {strengths[order[0]]:.2f}')
    heat.imshow(cut.maps[:, :, order[0]], cmap=HEAT, alpha=0.65, extent=cut.region, interpolation='bilinear')
    cells = np.atleast_1d(below.subplots(rows, COLUMNS)).reshape(-1)
    for cell in cells:
        cell.set_axis_off()
    for cell, channel in zip(cells, order, strict=False):
        cell.imshow(cut.maps[:, :, channel], cmap=HEAT, extent=cut.region, interpolation='nearest')
        cell.set_title(f'{channel}: {strengths[channel]:.2f}', fontsize=8)
    bar = figure.colorbar(heat.images[-1], ax=heat, shrink=0.8, ticks=())
    bar.set_label('response: least to most', fontsize=8)
    for cell in (heat, *cells):
        cell.set(xlim=image.get_xlim(), ylim=image.get_ylim())
    return figure


def _cut(details: Mapping[str, Any], found: Mapping[str, np.ndarray], name: str, bgr: bool) -> Cut:
    maps = found[name]
    if RECTIFIED in found:
        image = found[RECTIFIED].mean(-1)
        size = whole = image.shape
    else:
        pixels, size = details['image'], details['size']
        whole = pixels.shape[:2]
        pixels = pixels[:size[0], :size[1], ::-1 if bgr else 1]
        image = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    steps = [length / cells for length, cells in zip(whole, maps.shape, strict=False)]
    # Cells that cover only padding say nothing of the image.
    rows, columns = (max(1, math.ceil(length / step)) for length, step in zip(size, steps, strict=True))
    return Cut(image, maps[:rows, :columns], (-0.5, columns * steps[1] - 0.5, rows * steps[0] - 0.5, -0.5))


def _show(cell: Any, image: np.ndarray, title: str) -> None:
    cell.imshow(image, cmap='gray')
    cell.set_title(title, fontsize=9)
    cell.set_axis_off()
