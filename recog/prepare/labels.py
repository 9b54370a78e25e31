"""Files that say what is written in which image: tsv and PaddleOCR's list, csv, JSON lines, ICDAR's gt.txt.

Texts are taken unchanged. A line that cannot be parsed is refused with file name and line number.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import IO, NamedTuple

from recog.errors import ConfigError
from recog.prepare import regular

FORMS = ('tsv', 'csv', 'jsonl', 'icdar')
FILE_COLUMNS = ('file', 'filename', 'file_name', 'image', 'image_path', 'img_path', 'path', 'img',
                'image_name')
TEXT_COLUMNS = ('text', 'label', 'transcription', 'gt', 'latex', 'formula', 'caption', 'word')


class Label(NamedTuple):
    """An image's file and what is written in it."""

    file: str
    text: str


def form_of(file: str) -> str:
    """The form of a file, by its extension."""
    suffix = file.lower().rpartition('.')[2]
    return {'csv': 'csv', 'jsonl': 'jsonl', 'json': 'jsonl'}.get(suffix, 'tsv')


def read(file: str, content: IO[bytes], form: str = '', columns: Sequence[str] = ()) -> Iterator[Label]:
    """The labels in the lines of a file, opened as bytes; `columns` names those
    of image and text, if they are unusual."""
    reader = {'tsv': _tsv, 'csv': _csv, 'jsonl': _json_lines, 'icdar': _icdar}[form or form_of(file)]
    return reader(file, lines(file, content), tuple(columns))


def lines(file: str, content: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not empty, without its line ending."""
    for number, raw in enumerate(regular.lines(file, content), 1):
        try:
            line = raw.decode('utf-8-sig' if number == 1 else 'utf-8').removesuffix('\n').removesuffix('\r')
        except UnicodeDecodeError as error:
            raise ConfigError(f'{file}, line {number}: must be UTF-8; its byte {error.start} is '
                              'not') from None
        if line:
            yield number, line


def _wrong(file: str, number: int, line: str, wanted: str) -> ConfigError:
    return ConfigError(f'{file}, line {number}: {line[:60]!r} must be {wanted}')


def _tsv(file: str, content: Iterator[tuple[int, str]], columns: tuple[str, ...]) -> Iterator[Label]:
    """File, tab, text; further columns are ignored. The first line may be a header."""
    places: tuple[int, int] | None = None
    for number, line in content:
        cells = line.split('\t')
        if places is None:
            header = _places(cells, columns)
            if columns and header is None:
                raise _wrong(file, number, line, f'a line of names with {" and ".join(columns)}')
            places = header or (0, 1)
            if header:
                continue
        if len(cells) <= max(places) or not cells[places[0]]:
            raise _wrong(file, number, line, 'file, tab, text')
        for name in _several(cells[places[0]]):
            yield Label(name, cells[places[1]])


def _several(name: str) -> list[str]:
    """The files of a cell: PaddleOCR's list may name several images of one text, ["a.jpg", "b.jpg"]."""
    if name.startswith('[') and name.endswith(']'):
        try:
            names = json.loads(name)
        except (ValueError, RecursionError):
            return [name]
        if names and all(isinstance(each, str) for each in names):
            return names
    return [name]


def _places(cells: Sequence[str], columns: tuple[str, ...]) -> tuple[int, int] | None:
    """The positions of the columns of image and text in a header; None if this is no header."""
    names = [cell.strip().lower() for cell in cells]
    if columns:
        wanted = [[column.lower()] for column in columns]
    else:
        wanted = [list(FILE_COLUMNS), list(TEXT_COLUMNS)]
    found = [next((names.index(name) for name in kind if name in names), -1) for kind in wanted]
    return (found[0], found[1]) if min(found) >= 0 else None


def _csv(file: str, content: Iterator[tuple[int, str]], columns: tuple[str, ...]) -> Iterator[Label]:
    """A header, then values; a value in quotes may hold commas, doubled quotes and line breaks."""
    places: tuple[int, int] | None = None
    first = next(content, None)
    if first is None:
        return
    separator = max(',;\t', key=first[1].count)
    reader = csv.reader(_rejoined(chain([first], content)), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if not cells:
                continue
            if places is None:
                places = _places(cells, columns)
                if places is None:
                    wanted = ' and '.join(columns) if columns else (
                        f'one of {", ".join(FILE_COLUMNS)} and one of {", ".join(TEXT_COLUMNS)}')
                    raise _wrong(file, reader.line_num, first[1], f'a line of column names with {wanted}')
            elif len(cells) <= max(places) or not cells[places[0]]:
                raise _wrong(file, reader.line_num, separator.join(cells),
                             'as many values as there are columns')
            else:
                yield Label(cells[places[0]], cells[places[1]])
    except csv.Error as error:
        raise ConfigError(f'{file}, line {reader.line_num}: {error}') from None


def _rejoined(content: Iterable[tuple[int, str]]) -> Iterator[str]:
    """The lines with their line endings, and the empty ones too, which may
    be inside quotes and which csv counts."""
    before = 0
    for number, line in content:
        yield from ['\n'] * (number - before - 1)
        yield line + '\n'
        before = number


def _json_lines(file: str, content: Iterator[tuple[int, str]], columns: tuple[str, ...]) -> Iterator[Label]:
    """One object per line."""
    for number, line in content:
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f'{file}, line {number}: no JSON object ({error})') from None
        places = _places(list(fields), columns) if isinstance(fields, dict) else None
        if places is None:
            wanted = columns or (f'one of {", ".join(FILE_COLUMNS)}', f'one of {", ".join(TEXT_COLUMNS)}')
            raise _wrong(file, number, line, f'an object with {wanted[0]} and {wanted[1]}')
        name, text = (list(fields.values())[place] for place in places)
        if not isinstance(name, str) or not isinstance(text, str) or not name:
            raise _wrong(file, number, line, 'an object whose image and text are strings')
        if not text.isascii() and re.search('[\ud800-\udfff]', text):
            raise _wrong(file, number, line, 'free of lone surrogates')
        yield Label(name, text)


def _icdar(file: str, content: Iterator[tuple[int, str]], _: tuple[str, ...]) -> Iterator[Label]:
    r"""word_1.png, "text": the text may hold commas; quotes and
    backslashes in it are escaped with a backslash."""
    for number, line in content:
        name, comma, text = line.partition(',')
        name, text = name.strip(), text.strip()
        if not comma or not name:
            raise _wrong(file, number, line, 'name, comma, "text"')
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = re.sub(r'\\(["\\])', r'\1', text[1:-1])
        yield Label(name, text)
