"""How many words of a set are read rightly when they are turned at random, before and after `rotate='auto'`.

    python tests/programs/turned.py runs/words --data data --set iiit5k:test

Each word is turned by 0, 90, 180 or 270 degrees, by a fixed seed. Upright words are read both ways, too.
"""

import argparse
from pathlib import Path

import numpy as np

from recog.data.sets import open_set
from recog.metrics.words import judge
from recog.reading.recognizer import load
from recog.workdir.description import read_config

SEED = 0


def share(answers, truths, protocol):
    """The share of right answers."""
    return np.mean([judge(truth, answer.text or '', protocol).right
                    for answer, truth in zip(answers, truths, strict=True)])


def main():
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument('workdir', type=Path)
    own.add_argument('--data', default='data', help='root of prepared sets')
    own.add_argument('--set', default='rendered:test')
    own.add_argument('--limit', type=int, default=0, help='the first so many words; 0 is all')
    arguments = own.parse_args()
    config = read_config(arguments.workdir.resolve())
    source = open_set(arguments.set, config, arguments.data)
    count = min(len(source), arguments.limit or len(source))
    rows = [row for row in source.rows(range(count)) if row.image is not None]
    truths, images = [row.text for row in rows], [row.image for row in rows]
    turns = np.random.default_rng(SEED).integers(0, 4, len(rows))
    # Turned to the right: `turned` of an answer says by how much to the left it was turned back.
    turned = [np.ascontiguousarray(np.rot90(image, -turn)) for image, turn in zip(images, turns, strict=True)]
    plain, auto = load(arguments.workdir), load(arguments.workdir, rotate='auto')
    found = auto(turned)
    protocol = config.eval.protocol
    print(f'{arguments.set}: {len(rows)} words, of which right are, under protocol {protocol}:\n'
          f'upright, read as they are     {share(plain(images), truths, protocol):.2%}\n'
          f'upright, in four directions   {share(auto(images), truths, protocol):.2%}\n'
          f'turned, read as they are      {share(plain(turned), truths, protocol):.2%}\n'
          f'turned, in four directions    {share(found, truths, protocol):.2%}\n'
          f'the turn is found in          '
          f'{np.mean([answer.turned == 90 * turn for answer, turn in zip(found, turns, strict=True)]):.2%}')


if __name__ == '__main__':
    main()
