"""The pages of the documentation, the commands in them, and the scripts that complete them."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from small import ROOT

ELSEWHERE = ('README.md', 'CONTRIBUTING.md', 'experiments/README.md', 'datasets/README.md',
             'deploy/cpp/README.md', 'experiments/results/README.md')
PAGES = [*(ROOT / name for name in ELSEWHERE), *sorted((ROOT / 'docs').rglob('*.md'))]
COMMAND = re.compile(r'(PYTHONPATH=\. )?(\.venv/bin/)?recog ')
INLINE = re.compile(r'`([^`\n]+)`')


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `recog ...` that stands in a block of code."""
    for line in blocks(page.read_text(encoding='utf-8')):
        for part in line.removeprefix('$ ').split(' && '):
            if COMMAND.match(part):
                # What another program is told ends with a quotation mark.
                words = shlex.split(part.removesuffix("'") if part.count("'") % 2 else part)
                yield words[1:] if words[0].endswith('recog') else words[2:]


def blocks(text: str) -> Iterator[str]:
    """The lines of fenced and indented code, without the indent."""
    fenced = False
    for line in text.split('\n'):
        if line.startswith('```'):
            fenced = not fenced
        elif fenced or line.startswith('    '):
            yield line if fenced else line[4:]


def inline(page: Path) -> list[str]:
    """What stands in backticks within a text."""
    text = re.sub(r'^(```.*?^```|    .*?$)', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)
    return INLINE.findall(text)


def script(name: str):
    """A module of docs/."""
    if str(ROOT / 'docs') not in sys.path:
        sys.path.append(str(ROOT / 'docs'))
    return importlib.import_module(name)
