"""Published bitmaps of formulas and their captions, by key. Bitmaps are files in a
folder or an archive, or WAP's pickle."""

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recog.errors import ConfigError
from recog.images.header import JPEG, PNG
from recog.images.read import read_image
from recog.prepare import labels, regular, trees
from recog.prepare.regular import Lost
from recog.weights import arrays, pickles

SUFFIXES = ('.png', '.bmp', '.jpg', '.jpeg')
PICKLES = ('.pkl', '.pickle')
AS_IS = (PNG, JPEG)
LARGEST = 1 << 30  # bytes of a pickle
NONE = Lost('there is no bitmap')


def stream(path: Path, keys: Iterable[str]) -> Iterator[tuple[str, bytes | Lost]]:
    """Every key once with its encoded image, or why there is none, in the order that is fastest to read.

    A key is the name of a file without its extension; WAP's files also end in _0, the number of the channel.
    """
    keys = list(dict.fromkeys(keys))
    if not trees.exists(path):
        raise ConfigError(f'{path}: there are no bitmaps')
    if path.suffix.lower() in PICKLES:
        images = _unpickled(path)
        yield from ((key, png(images[key]) if key in images else NONE) for key in keys)
        return
    forest, found = trees.found(path)[0], _files(path)
    wanted: defaultdict[int, dict[str, str]] = defaultdict(dict)
    missing = []
    for key in keys:
        places = found.get(key) or found.get(f'{key}_0') or []
        if len(places) > 1:
            raise ConfigError(f'{path}: {places[0][1]} and {places[1][1]} are both {key}; name the folder '
                              'that is meant')
        if places:
            wanted[places[0][0]][places[0][1]] = key
        else:
            missing.append(key)
    for number, names in wanted.items():
        yield from ((names[name], content) for name, content in forest[number].stream(list(names)))
    yield from ((key, NONE) for key in missing)


def captions(file: Path) -> dict[str, str]:
    """Key -> tokens, separated by single blanks, from a file with lines of key, tab or blank, tokens."""
    found: dict[str, str] = {}
    try:
        with regular.opened(file) as content:
            for number, line in labels.lines(str(file), content):
                key, *tokens = line.split()
                key = stem(key)
                if key in found:
                    raise ConfigError(f'{file}, line {number}: {key} has a caption already')
                found[key] = ' '.join(tokens)
    except OSError as error:
        raise ConfigError(f'{file} cannot be read: {error.strerror}') from None
    return found


def recorded(content: bytes, name: str) -> bytes:
    """An image as records keep it: PNG and JPEG unchanged, others losslessly as PNG;
    raises `Unreadable` if it is no image."""
    if content.startswith(AS_IS):
        return content
    image = read_image(content, name)
    return png(image[..., 0] if (image == image[..., :1]).all() else image)


def png(image: np.ndarray) -> bytes:
    """A uint8 image as PNG, in one bit a pixel if it is black and white."""
    import cv2

    plain = image.ndim == 2 and bool(np.isin(image, (0, 255)).all())
    done, encoded = cv2.imencode('.png', image, [cv2.IMWRITE_PNG_BILEVEL, int(plain)])
    if not done:
        raise ValueError(f'an image of {image.shape} cannot be written')
    return encoded.tobytes()


def stem(name: str) -> str:
    """A file's name without folders and without the extension of an image: keys may have other dots."""
    base = name.rpartition('/')[2]
    return base[:base.rindex('.')] if base.lower().endswith(SUFFIXES) else base


def _files(path: Path) -> dict[str, list[tuple[int, str]]]:
    """The image files: name without extension -> number of the tree, and name in it."""
    found: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, tree in enumerate(trees.found(path)[0]):
        for name in sorted(tree.names):
            if name.lower().endswith(SUFFIXES) and not name.startswith('__MACOSX'):
                found[stem(name)].append((number, name))
    return found


def _unpickled(path: Path) -> dict[str, np.ndarray]:
    """Key -> image [H, W] of WAP's and its successors' pickles."""
    try:
        encoded = regular.content(path, LARGEST)
        budget = pickles.Budget(len(encoded))
        content = pickles.load(io.BytesIO(encoded), arrays.NAMES, budget)
    except (OSError, pickles.Damaged) as error:
        raise ConfigError(f'{path} cannot be read as a pickle of arrays: {regular.said(error)}') from None
    if not isinstance(content, dict):
        raise ConfigError(f'{path} holds a {type(content).__name__} instead of a dictionary of arrays')
    return {stem(str(key)): _plane(path, str(key), value, budget) for key, value in content.items()}


def _plane(path: Path, key: str, value: Any, budget: pickles.Budget) -> np.ndarray:
    """The image of an entry: [H, W], [1, H, W], or a list of one."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(value, arrays.Array):
        raise ConfigError(f'{path}: {key} is a {type(value).__name__} instead of a uint8 image [H, W]')
    try:
        array = arrays.opened(value, budget)
    except pickles.Damaged as error:
        raise ConfigError(f'{path}: {key}: {error}') from None
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    if array.ndim != 2 or array.dtype != np.uint8 or not array.size:
        raise ConfigError(f'{path}: {key} is {array.dtype} {array.shape} instead of a uint8 image [H, W]')
    return array
