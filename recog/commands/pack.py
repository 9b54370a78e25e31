"""`recog pack`: a set fitted and encoded once."""

import argparse
import os
import re
from pathlib import Path

from recog.buckets import refuse_remote
from recog.commands.options import Command, add_data, recipe, refuse_negative


def add(pack: argparse.ArgumentParser) -> None:
    """The arguments."""
    pack.add_argument('set', metavar='NAME[/CONFIG][:SPLIT]', help='the set to pack')
    pack.add_argument('--name', default='', help='what the packed set is called (default: NAME_SPLIT_packed)')
    pack.add_argument('--workers', type=int, default=0, help='processes (default: as many as there are CPUs)')
    add_data(pack)


def run(arguments: argparse.Namespace) -> int:
    """Pack the set."""
    refuse_negative(arguments, 'workers')
    refuse_remote('--data', arguments.data)
    config = recipe(arguments)
    from recog.data import pack

    place = Path(arguments.data) / (arguments.name or re.sub(r'\W+', '_', arguments.set) + '_packed')
    workers = arguments.workers or len(os.sched_getaffinity(0))
    manifest = pack.pack(arguments.set, config, Path(arguments.data), place, workers)
    counts = ', '.join(f'{count:,} {what}' for what, count in manifest['counts'].items())
    print(f'{place}: {manifest["rows"]:,} rows: {counts}')
    return 0


COMMAND = Command('pack', 'Fit and encode a set once for a recipe: training reads it many times faster.',
                  add, run, recipe=True, overridable=True,
                  epilog='Train on it by --config.data.train=NAME (without a split).')
