"""The shapes of a recipe's batches: canvases of a few listed sizes, and how many tokens a label has."""

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from recog.config.values import parse_bucket
from recog.data.plan import Shape
from recog.errors import ConfigError


def shapes(config: ConfigDict, batch: int, multiple: int) -> list[Shape]:
    """The shapes of a recipe, smallest canvas first; of `batch` rows, or fewer if data.pixels limits them.

    The last is the largest canvas of the recipe: image.height x image.width with text.max_length tokens, if
    the canvases are not chosen by ratio.
    """
    rule, most = config.data, (config.image.height, config.image.width, config.text.max_length)
    buckets = sorted({(*parse_bucket(bucket, most[2]),) for bucket in rule.buckets} | {most}, key=np.prod)
    for bucket in buckets:
        limits = most[2:] if config.image.fit == 'ratio' else most  # canvases of other ratios may be higher
        if any(size > limit for size, limit in zip(bucket[-len(limits):], limits, strict=True)):
            raise ConfigError(
                f'config.data.buckets: {"x".join(map(str, bucket))} must be at most '
                f'{"x".join(map(str, most))}, which is config.image.height x config.image.width x '
                'config.text.max_length')
    return [Shape(_rows(height * width, batch, rule.pixels, multiple), height, width, length)
            for height, width, length in buckets]


def canvases(config: ConfigDict) -> list[tuple[int, int]]:
    """Heights and widths of a recipe's shapes."""
    return list(dict.fromkeys((shape.height, shape.width) for shape in shapes(config, 1, 1)))


def _rows(area: int, batch: int, pixels: int, multiple: int) -> int:
    """Rows of a batch: `batch`, or what the budget of pixels allows; always a multiple, and at least one."""
    wanted = min(batch, pixels // area) if pixels else batch
    return max(multiple, wanted // multiple * multiple)


def fitted(sizes: np.ndarray, shapes: Sequence[Shape], form: str) -> np.ndarray:
    """The sizes [N, 2] that images of these sizes [N, 2] have on their canvases by the rule `image.fit`, but
    for what is too large."""
    if form == 'none':
        return sizes
    canvases = np.array([(shape.height, shape.width) for shape in shapes])
    if form != 'ratio':
        return np.tile(canvases[-1], (len(sizes), 1))
    ratios, wanted = (np.rint(each[:, 1] / each[:, 0]) for each in (canvases, sizes))
    return canvases[np.abs(wanted[:, None] - ratios).argmin(1)]


def fitting(sizes: np.ndarray, lengths: np.ndarray, shapes: Sequence[Shape]) -> np.ndarray:
    """The number of the first shape that each image [N, 2] with its label [N] fits, else the last.  -> [N]"""
    room = np.array([(shape.height, shape.width, shape.length) for shape in shapes])
    needed = np.concatenate([sizes, lengths[:, None]], 1)
    fits = np.asarray((needed[:, None] <= room[None]).all(-1))
    fits[:, -1] = True
    return fits.argmax(1)
