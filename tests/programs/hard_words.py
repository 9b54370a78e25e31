"""Sets of hard words, drawn as a workdir's recipe draws its test words: small, turned, curved and long ones.

    python tests/programs/hard_words.py runs/words --data data

writes hard_words/small, turned, curved and long below the root of prepared sets, each a folder with
labels.tsv: what a reader reads worse, for `recog publish WORKDIR FOLDER --weakness small=hard_words/small`.
"""

import argparse
import itertools
from pathlib import Path

import cv2
import numpy as np

from recog.data.sets import open_set
from recog.images.corrupt import corrupted
from recog.images.warp import NAMES, move_image, random_warp
from recog.workdir.description import read_config

SEED, PART = 0, 64  # words that are drawn at a time
SMALL, TURNED, CURVED, LONG = 12, 1, 0.5, 12  # pixels high; a severity; heights of the word; letters


def small(image, number):
    """The image 12 pixels high."""
    width = max(1, round(image.shape[1] * SMALL / image.shape[0]))
    return cv2.resize(image, (width, SMALL), interpolation=cv2.INTER_AREA)


def turned(image, number):
    """The image turned by ten degrees to either side."""
    return corrupted(image, 'rotation', TURNED, SEED, number)


def curved(image, number):
    """The image bent up or down."""
    bend = CURVED * (-1) ** number
    return move_image(random_warp(image.shape[:2], np.random.default_rng(SEED),
                                  dict.fromkeys(NAMES, 0.0) | {'curve': bend}), image)


def plain(image, number):
    """The image as it is."""
    return image


# What is done to the words of each set, and how many letters they have at least.
SETS = {'small': (small, 1), 'turned': (turned, 1), 'curved': (curved, 1), 'long': (plain, LONG)}


def of_length(source, least, length):
    """The numbers, texts and images of the examples whose text is at least so long, drawn in parts."""
    for first in range(0, len(source), PART):
        places = range(first, min(first + PART, len(source)))
        chosen = [place for place, (_, text) in zip(places, source.labels(places), strict=True)
                  if length(text) >= least]
        yield from ((place, row.text, row.image)
                    for place, row in zip(chosen, source.rows(chosen), strict=True))


def write(sets, given, root, length, about):
    """Write sets of changed examples of a set below a folder; `about` is the page of the program."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('workdir', type=Path)
    parser.add_argument('--data', type=Path, default=Path('data'), help='root of prepared sets')
    parser.add_argument('--count', type=int, default=1000, help='examples of each set')
    arguments = parser.parse_args()
    source = open_set(given, read_config(arguments.workdir.resolve()), str(arguments.data))
    for name, (change, least) in sets.items():
        folder = arguments.data / root / name
        folder.mkdir(parents=True)
        lines = []
        for number, text, image in itertools.islice(of_length(source, least, length), arguments.count):
            cv2.imwrite(str(folder / f'{number}.png'), change(image, number))
            lines.append(f'{number}.png\t{text}\n')
        (folder / 'labels.tsv').write_text(''.join(lines), encoding='utf-8')
        print(f'{folder}: {len(lines)} examples')


if __name__ == '__main__':
    write(SETS, 'rendered:test', 'hard_words', len, __doc__)
