"""`recog check`: prepared sets against what was recorded of their files."""

import argparse
from pathlib import Path

from recog.buckets import refuse_remote
from recog.commands.options import Command, data_root
from recog.errors import ConfigError


def add(check: argparse.ArgumentParser) -> None:
    """The arguments."""
    check.add_argument('data', nargs='?', default=data_root(),
                       help='a set or the root of several (default: $RECOG_DATA, else ./data)')
    check.add_argument('--seal', action='store_true',
                       help='record sizes and hashes of sets that have none yet')


def run(arguments: argparse.Namespace) -> int:
    """Check every set; status 1 if one is not what was recorded."""
    from recog.data import file_hashes, tables

    refuse_remote('the root', arguments.data)
    root = Path(arguments.data)
    folders = file_hashes.found(root) or [root] * tables.has_shards(root)
    if not folders:
        raise ConfigError(f'{arguments.data!r} holds no prepared set (no dataset_info.json, no labels.tsv)')
    bad = 0
    for folder in folders:
        if not (folder / file_hashes.SEAL).is_file():
            print(f'{folder}: recorded {file_hashes.seal(folder)} files' if arguments.seal else
                  f'{folder}: not recorded; see --seal')
            continue
        problems = file_hashes.check_hashes(folder)
        bad += bool(problems)
        print('\n'.join(f'{folder}: {problem}' for problem in problems) or f'{folder}: sound')
    return 1 if bad else 0


COMMAND = Command('check',
                  'Check prepared sets, every byte, against the sizes and hashes recorded of their files.',
                  add, run)
