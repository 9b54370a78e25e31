"""Checks that an exported folder reads as its workdir does: the same texts,
scores within a ten-thousandth."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recog.data.batches import Steps
from recog.data.pipeline import read_ahead
from recog.data.shapes import canvases
from recog.errors import ConfigError
from recog.reading import adapt
from recog.reading.exported import Folder
from recog.reading.read import BY_IMAGE, BY_TEXT
from recog.reading.recognizer import Arrays
from recog.text.vocabulary import Vocab

# For scores and probabilities; relative for a score above 1, of which float32 has seven digits.
TOLERANCE = 1e-4
# For maps, which are only drawn; where a noisy image is sampled, a rounding error is amplified.
OF_MAPS = 1e-2
RANDOM = 16  # images of random content
CANVASES = 2  # smaller ones that are compared beside the largest, of recipes that have many
BATCH = 8


class Parity(NamedTuple):
    """How many images were read, and the largest difference of a score or of a mean probability."""

    images: int
    worst: float


class Wrong(NamedTuple):
    """The largest difference: by how many times it exceeds the tolerance, and in words."""

    size: float
    words: str


class Differs(ConfigError):
    """An export that does not read what its workdir reads."""


def check(folder: Folder, model: Any, variables: Any, samples: Path) -> Parity:
    """Compare both files of a folder with the model, on the sample images of a workdir and on random ones."""
    import jax

    from recog.devices.mesh import compiler_options, one_device

    decode = jax.jit(partial(model.decode, beam=folder.manifest['beam'], details=True),
                     compiler_options=compiler_options(one_device()))
    files = {f'{name}.{folder.form}': folder.engine(details=name == 'explain',
                                                      name='onnxruntime' if folder.form == 'onnx' else '')
             for name in ('model', 'explain')}
    names = [*sorted(str(file) for file in samples.glob('*.png')), *random_images(_small(folder.config))]
    worst, wrong = 0.0, Wrong(0.0, '')
    for number, (batch, given) in enumerate(_batches(folder, names)):
        wanted = jax.device_get(decode(variables, *given))
        image, size, longest = given
        # The first batch, and its first image alone.
        for file, rows in [(file, rows) for file in files
                           for rows in ((BATCH, 1) if not number else (BATCH,))]:
            got = files[file].run(image[:rows], size[:rows], longest)  # type: ignore[attr-defined]
            for place in np.flatnonzero(batch['weight'][:rows]):
                one, other = ({key: values[place] for key, values in out.items()} for out in (wanted, got))
                apart, found = difference(one, other, folder.vocab)
                worst = max(worst, apart)
                if found.size > wrong.size:
                    wrong = found._replace(words=f'{file}: {_name(names, int(batch["index"][place]))} '
                                                 f'{found.words}')
    if wrong.size:
        raise Differs(f'{wrong.words}; nothing was written')
    return Parity(len(names), worst)


def _batches(folder: Folder, images: list[Any]) -> Iterator[tuple[dict[str, np.ndarray], tuple]]:
    """Batches of the images, fitted as for prediction, and the inputs of the model: first with the full
    length of texts, then with a shorter one."""
    rule, most = folder.config.image, folder.config.text.max_length
    source: Any = Arrays(images)
    source = adapt.Adapted(source, rule, 'auto') if rule.ink else source
    config = _few_canvases(folder.config)
    for longest in (most, max(1, most // 3)):
        for batch in read_ahead(Steps(source, np.arange, BATCH, config, 0), config):
            yield batch, (batch['image'], batch['size'], np.asarray(longest, np.int32))


def _few_canvases(config: Any) -> Any:
    """The recipe with its smallest canvases and the largest alone, as JAX compiles a program for each."""
    config = config.copy_and_resolve_references()
    sizes = canvases(config)
    if config.image.fit == 'none' and len(sizes) > CANVASES + 1:
        with config.unlocked():
            config.data.buckets = tuple(f'{height}x{width}' for height, width in sizes[:CANVASES])
    return config


def _name(images: list[Any], number: int) -> str:
    return images[number] if isinstance(images[number], str) else f'random image {number}'


def difference(wanted: Mapping[str, Any], got: Mapping[str, Any], vocab: Vocab) -> tuple[float, Wrong]:
    """The largest difference of scores and mean probabilities of one image, and the worst error,
    of which another text is worse than any number."""
    texts = [vocab.decode(out['tokens'][0].tolist()) for out in (wanted, got)]
    worst, wrong = 0.0, Wrong(0.0, '')
    if texts[0] != texts[1]:
        wrong = Wrong(np.inf, f'is read as {texts[1]!r}, by the workdir as {texts[0]!r}')
    for name in (name for name in (*BY_TEXT, *BY_IMAGE) if name in got and name not in ('tokens', 'length')):
        # Of the beam's other texts, only the scores are compared: two that are equally likely may change
        # places.
        one, other = (np.asarray(out[name] if name in ('score', *BY_IMAGE) else out[name][0],
                                 np.float64).ravel()
                      for out in (wanted, got))
        with np.errstate(invalid='ignore'):
            apart = np.where(one == other, 0, abs(one - other) / np.maximum(1, abs(one)))
        apart = np.where(np.isnan(apart), 1e9, apart)
        place = int(apart.argmax())
        excess = float(apart[place]) / (TOLERANCE if name in ('score', 'mean_token', 'token_confidence')
                                        else OF_MAPS)
        if excess > max(1.0, wrong.size):
            wrong = Wrong(excess, f'has {name} {other[place]:.6g}, by the workdir {one[place]:.6g}')
        worst = max(worst, float(apart[place])) if name in ('score', 'mean_token') else worst
    return worst, wrong


def _small(config: Any) -> Any:
    """The recipe's rule for images, with the size of a canvas that is compared."""
    rule = config.image.copy_and_resolve_references()
    sizes = canvases(config)
    if rule.fit == 'none' and len(sizes) > CANVASES + 1:
        rule.height, rule.width = sizes[CANVASES - 1]
    return rule


def random_images(rule: Any) -> list[np.ndarray]:
    """Random blots and noise in many sizes, in the recipe's range."""
    import cv2

    random = np.random.default_rng(0)
    images = []
    for number in range(RANDOM):
        height, width = (int(random.integers(most // 4, most + 1)) for most in (rule.height, rule.width))
        coarse = 2 + number % 4 * 3
        cells = random.integers(0, 256, (2 + height // coarse, 2 + width // coarse, 3), np.uint8)
        images.append(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC))
    return images
