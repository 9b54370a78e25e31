"""The sheet of `recog augment`: augmentations down, images across, at strengths below, at and above 0."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.config import recipe, values
from recog.config.fields import DECLARED
from recog.data.files import find_images
from recog.errors import ConfigError
from recog.images import augment, operations
from recog.images.fit import fit_image
from recog.images.read import Unreadable, read_image
from recog.looks import sheets

MOST_IMAGES, ACROSS = 24, 2  # of a sheet; side by side, the others follow below
WIDTH, HIGHEST, ZOOM = 180, 120, 3  # pixels of a picture, and by how much small ones are enlarged at most
LABEL, MARGIN, GAP, HEAD = 200, 16, 6, 40  # pixels: the names at the left, borders, headings
TRAINING = 2  # lines of pictures as in training


class Line(NamedTuple):
    """A line of the sheet: its name, what its strength means, and the pictures of each image (None: none)."""

    name: str
    meaning: str
    heads: Sequence[str]
    pictures: list[list[Any]]


def show(config: ConfigDict, names: Sequence[str], file: Path, every: bool = False) -> Path:
    """Draw image files as a recipe changes them in training or, with `every`, as each known augmentation
    does."""
    rule = config.image
    if every:
        plain = {f'augment.{name}': strength for name, strength in augment.PLAIN.items()}
        rule = recipe.changed(rule.copy_and_resolve_references(), {**plain, 'augment.probability': 0.5})
    elif not augment.augments(rule.augment):
        raise ConfigError('the recipe changes no image: config.image.augment is off; '
                          '--all shows every augmentation')
    images = find_images(names)
    if len(images) > MOST_IMAGES:
        raise ConfigError(f'{len(images)} images are too many for one picture; at most {MOST_IMAGES}')
    try:
        words = [read_image(each) for each in images]
    except Unreadable as error:
        raise ConfigError(f'image {error}') from None
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet(words, [Path(each).name for each in images], rule, values.seed(config, 'augment')).save(file)
    return file


def sheet(words: Sequence[np.ndarray], names: Sequence[str], rule: ConfigDict, seed: int) -> Any:
    """The sheet as an image of Pillow."""
    from PIL import Image, ImageDraw

    lines = _lines(words, rule, seed)
    cell, zoom = _room(lines)
    bands = [range(start, min(start + ACROSS, len(words))) for start in range(0, len(words), ACROSS)]
    group = _group(cell)
    high = HEAD + len(lines) * (cell[1] + HEAD)
    size = LABEL + MARGIN + group * min(ACROSS, len(words)), MARGIN + high * len(bands)
    page = Image.new('RGB', size, sheets.PAPER)
    pen = ImageDraw.Draw(page)
    for number, band in enumerate(bands):
        top = MARGIN + number * high
        for column, place in enumerate(band):
            left = LABEL + MARGIN + column * group
            pen.text((left, top), sheets.wrapped(names[place], group, 14, 1)[0], sheets.INK,
                     sheets.font(14, True))
        for row, line in enumerate(lines):
            _draw(page, pen, line, band, top + HEAD + row * (cell[1] + HEAD), cell, zoom)
    return page


def _lines(words: Sequence[np.ndarray], rule: ConfigDict, seed: int) -> list[Line]:
    """All lines: each augmentation alone at its full strength, then as in training."""
    given = [fit_image(word, rule)[0] if rule.augment.on_canvas else word for word in words]
    lines = []
    for name, most in augment.switched_on(rule.augment).items():
        sides = (-most if name in augment.SIGNED else None, 0.0, most)
        pictures = [[None if side is None else _fitted(augment.change(
            word, augment.generator(seed, 0, row), {name: side}), word, rule) for side in sides]
            for row, word in enumerate(given)]
        heads = sheets.strengths(most)
        heads = heads if name in augment.SIGNED else ('', *heads[1:])
        lines.append(Line(name, DECLARED['image']['augment'][name].meaning, heads, pictures))
    lines += _operations(given, rule) if augment.operates(rule.augment) else []
    for number in range(TRAINING):
        pictures = [[_fitted(augment.augment(word, augment.generator(seed, 3 * number + draw, row),
                                             rule.augment), word, rule) for draw in range(3)]
                    for row, word in enumerate(given)]
        lines.append(Line('as in training', f'each with probability {rule.augment.probability:g}',
                          [f'epoch {3 * number + draw + 1}' for draw in range(3)], pictures))
    return lines


def _operations(words: Sequence[np.ndarray], rule: ConfigDict) -> list[Line]:
    """A line for each operation on whole images, at the recipe's magnitude."""
    lines, random = [], augment.generator(0, 0, 0)
    for name, operation in operations.OPERATIONS.items():
        size = operation.argument(rule.augment.magnitude / operations.WHOLE)
        pictures = []
        for word in words:
            both = [None if side is None else _fitted(operations.apply(word, name, side, random=random),
                                                      word, rule)
                    for side in (-size if operation.signed else None, size)]
            pictures.append([both[0], _fitted(word, word, rule), both[1]])
        heads = sheets.strengths(size)
        lines.append(Line(name, f'one of {rule.augment.operations} operations that are drawn',
                          heads if operation.signed else ('', *heads[1:]), pictures))
    return lines


def _fitted(picture: np.ndarray, word: np.ndarray, rule: ConfigDict) -> np.ndarray:
    """What the model would get, as RGB or grey, without padding."""
    if rule.augment.on_canvas:
        picture = augment.centred(picture, word.shape)
    if rule.fit == 'none':  # such images keep their size
        rule = recipe.changed(rule.copy_and_resolve_references(),
                              {'height': picture.shape[0], 'width': picture.shape[1]})
    pixels, (height, width) = fit_image(picture, rule)
    pixels = pixels[:height, :width, ::-1 if rule.channels == 'bgr' else 1]
    return pixels if pixels.shape[2] == 3 else pixels[:, :, 0]


def _room(lines: Sequence[Line]) -> tuple[tuple[int, int], float]:
    """Width and height of the largest picture on the sheet, and by how much all are enlarged or shrunk."""
    shapes = [picture.shape for line in lines for pictures in line.pictures for picture in pictures
              if picture is not None]
    height, width = (max(shape[side] for shape in shapes) for side in (0, 1))
    zoom = min(WIDTH / width, HIGHEST / height, ZOOM)
    return (max(1, round(width * zoom)), max(1, round(height * zoom))), zoom


def _group(cell: tuple[int, int]) -> int:
    """The width of the pictures of one image."""
    return 3 * (cell[0] + GAP) + MARGIN


def _draw(page: Any, pen: Any, line: Line, band: Sequence[int], top: int, cell: tuple[int, int],
          zoom: float) -> None:
    """One line of the sheet."""
    from PIL import Image

    pen.line((MARGIN, top, page.width - MARGIN, top), sheets.LINE)
    pen.text((MARGIN, top + 4), line.name, sheets.INK, sheets.font(14, True))
    for number, words in enumerate(sheets.wrapped(line.meaning, LABEL - MARGIN, 11, max(2, cell[1] // 14))):
        pen.text((MARGIN, top + 24 + 14 * number), words, sheets.FAINT, sheets.font(11))
    for column, place in enumerate(band):
        for side, picture in enumerate(line.pictures[place]):
            left = LABEL + MARGIN + column * _group(cell) + side * (cell[0] + GAP)
            pen.text((left, top + 4), line.heads[side], sheets.FAINT, sheets.font(11))
            if picture is None:
                continue
            size = max(1, round(picture.shape[1] * zoom)), max(1, round(picture.shape[0] * zoom))
            how = Image.Resampling.LANCZOS if zoom < 1 else Image.Resampling.NEAREST
            page.paste(Image.fromarray(np.ascontiguousarray(picture)).convert('RGB').resize(size, how),
                       (left, top + 20))
