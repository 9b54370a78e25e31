"""How the `recog` command begins as a process: with large pages of memory, before anything is imported."""

import os
import sys

LARGE_PAGES = 'glibc.malloc.hugetlb'


def main() -> int:
    """Run the command that this process was started for; the exit status is 0 only if all of it succeeded."""
    _ask_for_large_pages()
    from recog.commands.command_line import main

    return main()


def _ask_for_large_pages() -> None:
    """Begin anew with glibc told to ask for large pages, which it reads only when a process starts.

    On a CPU XLA takes the memory of each call anew from the system. In pages of 4 kB that costs up to three
    tenths of a training step.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if sys.platform == 'linux' and sys.executable and LARGE_PAGES not in tunables:
        os.environ['GLIBC_TUNABLES'] = f'{tunables}:{LARGE_PAGES}=1'.strip(':')
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
