"""Sets of hard formulas, of CROHME's test of 2014: small, turned and long ones, and photographs of paper.

    python tests/programs/hard_formulas.py runs/formulas --data data

writes hard_formulas/small, turned, paper and long below the root of prepared sets, each a folder with
labels.tsv: what a reader reads worse, for `recog publish ... --weakness small=hard_formulas/small`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from programs.hard_words import plain, turned, write

from recog.images.corrupt import corrupted

HALF, PAPER, LONG = 2, 1, 24  # two severities; tokens


def small(image, number):
    """The image at half its size."""
    return corrupted(image, 'size', HALF, number, number)


def paper(image, number):
    """Dark ink on light paper, a little out of focus and with noise, as a camera sees it."""
    image = 255 - image
    for name in ('defocus_blur', 'gaussian_noise'):
        image = corrupted(image, name, PAPER, number, number)
    return image


# What is done to the formulas of each set, and how many tokens they have at least.
SETS = {'small': (small, 1), 'turned': (turned, 1), 'paper': (paper, 1), 'long': (plain, LONG)}

if __name__ == '__main__':
    write(SETS, 'crohme:test_2014', 'hard_formulas', lambda text: len(text.split()), __doc__)
