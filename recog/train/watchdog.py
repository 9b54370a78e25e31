"""Stands beside a process of several, run as a script: when that process is gone without a word, it says who was silent.

JAX aborts every process on the spot when process 0 dies, so that they cannot say it themselves.
"""

import sys
import time
from pathlib import Path
from typing import Any


def main(folder: Any, process: str, count: int, patience: float) -> None:
    """Wait until standard input closes, which is when the process is gone, then for the others' signs of life."""
    sys.stdin.read()
    if word(folder, process).startswith(('ended', 'failed', 'left')):
        return
    before = {peer: word(folder, peer) for peer in map(str, range(count)) if peer != process}
    time.sleep(patience)
    silent = [peer for peer, said in before.items() if word(folder, peer) == said and not said.startswith(('ended', 'left'))]
    why = f'; process {", ".join(silent)} gave no sign of life either (dead or frozen)' if silent else ''
    print(f'recog train: process {process} of {count} is gone without a word (killed, or ended by JAX){why}', file=sys.stderr)


def word(folder: Any, process: str) -> str:
    """The last sign of life of a process."""
    try:
        return (folder / process).read_text()
    except FileNotFoundError:
        return ''


def place(name: str) -> Any:
    """The folder of this name; only one in a bucket needs more than the standard library."""
    if '://' not in name:
        return Path(name)
    from recog.workdir.folder import workdir_path

    return workdir_path(name)


if __name__ == '__main__':
    main(place(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
