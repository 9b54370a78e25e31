"""The text of a page as Sphinx reads it: with what it takes from the code, and links that lead somewhere."""

import functools
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

import generated
import python_api

ROOT = Path(__file__).parents[1]
INSERT = re.compile(r'^<!-- insert: (.+) -->$', re.M)
FILE = re.compile(r'^<!-- insert: file (\S+) -->$', re.M)
LINK = re.compile(r'(!?\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)')


def page(markdown: str, name: str) -> str:
    """A page of docs/ with its lines `<!-- insert: NAME ARGUMENT -->` replaced by what they name.

    `<!-- insert: file PATH -->` is a file elsewhere in the tree, where its readers look for it. Links in it,
    and links to such files, are made to lead to the pages of the site.
    """
    folder = posixpath.dirname(f'docs/{name}')
    markdown = _linked(markdown, folder, folder)
    markdown = FILE.sub(lambda match: _linked((ROOT / match[1]).read_text(encoding='utf-8'),
                                              posixpath.dirname(match[1]), folder), markdown)
    return INSERT.sub(lambda match: _given(*match[1].split()), markdown)


def _given(name: str, *arguments: str) -> str:
    return INSERTS[name](*arguments)


def _linked(markdown: str, source: str, folder: str) -> str:
    """A text written for one folder of the tree, with links for a page of another."""
    pages = elsewhere()

    def link(match: re.Match[str]) -> str:
        if re.match(r'[a-z]+:', match[2]):
            return match[0]
        path = posixpath.normpath(posixpath.join(source, match[2]))
        target = posixpath.relpath(pages.get(path, path), folder)
        return f'{match[1]}({target}{match[3] or ""})'

    return LINK.sub(link, markdown)


def _code(path: str) -> str:
    """A file of Python as it stands."""
    return f'```python\n{(ROOT / path).read_text(encoding="utf-8")}```'


@functools.cache
def elsewhere() -> dict[str, str]:
    """The files of the tree that are pages of the site, and these pages."""
    found = {'docs': 'docs/index.md'}
    for file in (ROOT / 'docs').rglob('*.md'):
        for path in FILE.findall(file.read_text(encoding='utf-8')):
            found[path] = file.relative_to(ROOT).as_posix()
    return found


INSERTS: dict[str, Callable[..., str]] = {
    'algorithm': generated.algorithm, 'further_algorithms': generated.further_algorithms,
    'commands': generated.commands, 'corruptions': generated.corruptions,
    'fields': generated.fields, 'results': generated.results,
    'python': python_api.section, 'code': _code}
