"""A script that runs beside a training process; when that one disappears, it says which others are silent.

JAX aborts every process at once when process 0 dies, so that they cannot say it themselves.
"""

import sys
import time
from pathlib import Path
from typing import Any


def main(folder: Any, process: str, count: int, patience: float) -> None:
    """Wait until standard input closes, because the process is gone; then watch the others' signs of life."""
    sys.stdin.read()
    if last_sign(folder, process).startswith(('ended', 'failed', 'left')):
        return
    before = {peer: last_sign(folder, peer) for peer in map(str, range(count)) if peer != process}
    time.sleep(patience)
    silent = [peer for peer, sign in before.items()
              if last_sign(folder, peer) == sign and not sign.startswith(('ended', 'left'))]
    why = f'; process {", ".join(silent)} gave no sign of life either (dead or frozen)' if silent else ''
    print(f'recog train: process {process} of {count} is gone without a word (killed, or ended by JAX){why}',
          file=sys.stderr)


def last_sign(folder: Any, process: str) -> str:
    """The last sign of life of a process, '' if it gave none."""
    try:
        return (folder / process).read_text()
    except FileNotFoundError:
        return ''


def place(name: str) -> Any:
    """The folder of this name; only for one in a bucket is more than the standard library imported."""
    if '://' not in name:
        return Path(name)
    from recog.workdir.folder import workdir_path

    return workdir_path(name)


if __name__ == '__main__':
    main(place(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
