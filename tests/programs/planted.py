"""How many planted wrong labels stand first among the suspects of a set that was measured.

    python tests/programs/planted.py WORKDIR SET [--share 0.03] [--seeds 20]

WORKDIR holds the predictions of `recog evaluate WORKDIR --set SET`. What a model reads does not depend on
labels, so they are planted afterwards: this share of them becomes the label of another row (`swapped`), or
loses, gains or changes one character (`edited`). It prints how many of them are among as many of the first
suspects, in the mean of the seeds, with the least and the most.
"""

import argparse
import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from recog.evaluation import measurements, suspects
from recog.metrics.words import judge


def edited(label, draw):
    """A label with one character other than it should be."""
    place, letters = draw.randrange(len(label) or 1), sorted(set(label)) or ['x']
    other = draw.choice([letter for letter in 'abcdefghijklmnopqrstuvwxyz0123456789'
                         if letter not in label.lower()] or letters)
    return draw.choice([label[:place] + label[place + 1:], label[:place] + other + label[place:],
                        label[:place] + other + label[place + 1:]])


def planted(read, protocol, share, kind, seed):
    """The predictions with wrong labels, judged anew, and the places of these."""
    draw = random.Random(seed)
    places = set(draw.sample(range(len(read)), round(share * len(read))))
    found = []
    for place, each in enumerate(read):
        truth = each.truth
        while place in places and judge(truth, each.truth, protocol).right:
            truth = edited(each.truth, draw) if kind == 'edited' else draw.choice(read).truth
        found.append(each._replace(id=str(place), truth=truth, **judge(truth, each.text, protocol)._asdict()))
    return found, places


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('workdir', type=Path)
    parser.add_argument('set')
    parser.add_argument('--share', type=float, default=0.03)
    parser.add_argument('--seeds', type=int, default=20)
    given = parser.parse_args()
    stored = measurements.views(measurements.read(given.workdir))
    measured = next(each for each in stored if given.set in each.sets)
    protocol, read = measured.document['protocol'], measured.of([given.set]).predictions
    print(f'{given.set}: {len(read):,} read, {sum(each.right for each in read):,} right, protocol {protocol}')
    for kind in ('swapped', 'edited'):
        counts = []
        for seed in range(given.seeds):
            labelled, places = planted(read, protocol, given.share, kind, seed)
            counts.append(sum(int(each.id) in places for each in suspects.ranked(labelled)[:len(places)]))
        print(f'{kind}: of {len(places)} planted {statistics.mean(counts):.1f} are among the first '
              f'{len(places)} ({min(counts)} to {max(counts)} over {given.seeds} seeds)')


if __name__ == '__main__':
    main()
