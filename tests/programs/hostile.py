"""Runs campaigns of hostile files and requests, and counts how each try ended.

    python tests/programs/hostile.py                          # all of them, about ten minutes
    python tests/programs/hostile.py weights exports --tries 2000 --seed 3

A try may be refused in one line, or be read. Anything else is named and fails the program: a signal, a
traceback, several lines, more than 10 s, more than 1 GB.

A campaign is a module in `campaigns` with a number of `TRIES` and `run(folder, dice, tries)`, which yields an
`Outcome` (tests/victim.py) for each try; `folder` is its own and empty.
"""

import argparse
import importlib
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from victim import READ, REFUSED, Outcome

NAMES = sorted(file.stem for file in (Path(__file__).parent / 'campaigns').glob('[a-z]*.py'))
SHOWN = 20  # findings of a campaign that are printed in full


def run(name: str, seed: int, tries: int, say=print) -> tuple[list[str], int]:
    """Run a campaign; returns its row of the table and the number of findings."""
    campaign = importlib.import_module(f'campaigns.{name}')
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=f'recog-{name}-') as folder:
        dice = random.Random(f'{name} {seed}')
        found = campaign.run(Path(folder), dice, tries or campaign.TRIES)
        return counted(name, found, begun, say)


def counted(name: str, outcomes: Iterable[Outcome], begun: float, say=print) -> tuple[list[str], int]:
    """The row of a campaign, and how many tries ended as none may; these are said at once."""
    ends = {READ: 0, REFUSED: 0}
    bad, slowest, largest = 0, 0.0, 0.0
    for each in outcomes:
        slowest, largest = max(slowest, each.seconds), max(largest, each.megabytes)
        if each.good:
            ends[each.kind] += 1
            continue
        bad += 1
        if bad <= SHOWN:
            say(f'{name}: {each.name}: {each.kind}: {each.said.strip()}')
    tries = bad + sum(ends.values())
    if not tries:
        raise RuntimeError(f'campaign {name} tried nothing')
    return [name, *map(str, (tries, ends[REFUSED], ends[READ], bad)), f'{slowest:.1f}', f'{largest:.0f}',
            f'{time.perf_counter() - begun:.0f}'], bad


def main() -> int:
    """Run the campaigns that are asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='CAMPAIGN', help=f'of {", ".join(NAMES)} (default: all)')
    parser.add_argument('--tries', type=int, default=0, help='of each campaign (default: what each says)')
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    unknown = sorted({*arguments.names} - {*NAMES})
    if unknown:
        parser.error(f'there is no campaign {unknown[0]}; there are: {", ".join(NAMES)}')
    rows, bad = [], 0
    for name in arguments.names or NAMES:
        row, more = run(name, arguments.seed, arguments.tries)
        rows.append(row)
        bad += more
    print('| campaign | tries | refused | read | anything else | slowest s | most MB | seconds |')
    print('|---' * 8 + '|')
    for row in rows:
        print(f'| {" | ".join(row)} |')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
