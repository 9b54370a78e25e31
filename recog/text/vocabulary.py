"""The vocabulary of a model: texts to ids and back, charsets, dictionary files, and labels that are refused.

A vocabulary holds no special tokens; a model adds its own (CTC: class = id + 1, and class 0 is the blank).
"""

from __future__ import annotations

import hashlib
import json
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from recog.errors import ConfigError, nearest
from recog.text import latex

if TYPE_CHECKING:
    from ml_collections import ConfigDict

# In the order of string.printable, as in the reference and in ASTER.
CHARSETS = {
    '36': string.digits + string.ascii_lowercase,
    '62': string.digits + string.ascii_letters,
    '94': string.digits + string.ascii_letters + string.punctuation,
    '95': string.digits + string.ascii_letters + string.punctuation + ' ',
}

Reason = Literal['empty', 'too long', 'unknown character']
ASCII = 'ascii'  # a value of `unknown`
FIELDS = ('tokens', 'case', 'unknown', 'separator')


def to_ascii(text: str) -> str:
    """The text without white space and accents (NFKD), and then without all that is not ASCII."""
    return unicodedata.normalize('NFKD', ''.join(text.split())).encode('ascii', 'ignore').decode()


class Unencodable(ValueError):
    """A label that can be used neither in training nor in evaluation, and why."""

    def __init__(self, reason: Reason, detail: str = ''):
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f'{self.reason}: {self.detail}' if self.detail else self.reason


class Encoding(NamedTuple):
    """The ids of a text, and its tokens that were dropped because they are not in the vocabulary."""

    ids: tuple[int, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Vocab:
    """The tokens that a model can write, and how a text is cut into them."""

    tokens: tuple[str, ...]
    case: str = 'lower'
    unknown: str = 'drop'
    separator: str = ''

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, *, max_length: int | None = None) -> Encoding:
        """The ids of a text; raises `Unencodable` if it is empty, too long, or has a refused token."""
        given = text
        if self.unknown == ASCII:
            text = to_ascii(text)
        # As in the reference, tokens that are dropped below count here. Ids are counted again, because a text
        # can become longer in lower case (U+0130).
        if max_length is not None and len(self._pieces(text)) > max_length:
            raise Unencodable('too long', f'more than {max_length} tokens')
        known, pieces = self._ids, self._pieces(text.lower() if self.case == 'lower' else text)
        ids = [known[piece] for piece in pieces if piece in known]
        dropped = [piece for piece in pieces if piece not in known] if len(ids) < len(pieces) else []
        if text != given:
            dropped = [character for character in given if character not in known]
        if dropped and self.unknown == 'refuse':
            raise Unencodable('unknown character', repr(dropped[0]))
        if not ids:
            raise Unencodable('empty')
        if max_length is not None and len(ids) > max_length:
            raise Unencodable('too long', f'more than {max_length} tokens')
        return Encoding(tuple(ids), tuple(dropped))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids up to the first negative one."""
        tokens = []
        for index in ids:
            if index < 0:
                break
            tokens.append(self.tokens[index])
        return self.separator.join(tokens)

    @cached_property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that differ where any field differs."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """The vocabulary as JSON, always in the same form; `from_json` reads it."""
        fields = {name: getattr(self, name) for name in FIELDS}
        return json.dumps(fields, sort_keys=True, separators=(',', ':'))

    @classmethod
    def from_json(cls, text: str) -> Vocab:
        """The vocabulary that `to_json` wrote."""
        try:
            fields = json.loads(text)
            tokens, *words = (fields[name] for name in FIELDS)
            if not isinstance(tokens, list) or not all(isinstance(word, str) for word in (*tokens, *words)):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f'a vocabulary is a JSON object of {", ".join(FIELDS)}; '
                              f'this is {text[:40]!r}') from None
        return cls(tuple(tokens), *words)

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as a JSON file."""
        Path(path).write_text(self.to_json() + '\n', encoding='utf-8')

    @classmethod
    def load(cls, path: str | Path) -> Vocab:
        """The vocabulary of a file that `save` wrote."""
        try:
            text = (Path(path) if isinstance(path, str) else path).read_text(encoding='utf-8')
            return cls.from_json(text)
        except OSError as error:
            raise ConfigError(f'{path}: no vocabulary can be read ({error.strerror})') from None
        except ValueError as error:
            raise ConfigError(f'{path}: {error}') from None

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}

    @cached_property
    def _has_commands(self) -> bool:
        return any(len(token) > 1 for token in self.tokens)

    def _pieces(self, text: str) -> list[str]:
        if self.separator:
            return [piece for piece in text.split(self.separator) if piece]
        return list(latex.ocr_tokens(text, self.tokens) if self._has_commands else text)


def from_config(rule: ConfigDict) -> Vocab:
    """The vocabulary that `config.text` asks for."""
    if rule.charset in CHARSETS:
        tokens = tuple(CHARSETS[rule.charset])
    elif rule.charset in latex.vocabularies():
        tokens = latex.vocabulary(rule.charset)
        if rule.separator != latex.separator(tokens):
            raise ConfigError(f'config.text.separator={rule.separator!r} must be {latex.separator(tokens)!r} '
                              f'for config.text.charset={rule.charset}')
    elif Path(rule.charset).is_file():
        tokens = _dictionary(Path(rule.charset), rule.separator)
    else:
        known = [*CHARSETS, *latex.vocabularies()]
        raise ConfigError(f'config.text.charset={rule.charset!r} is neither one of {", ".join(known)} '
                          f'nor a dictionary file{nearest(rule.charset, known)}')
    return Vocab(tokens, rule.case, rule.unknown, rule.separator)


def _dictionary(path: Path, separator: str) -> tuple[str, ...]:
    """The tokens of a dictionary file, one a line."""
    try:
        text = path.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigError(f'config.text.charset: {path} must be UTF-8; byte {error.start} is not') from None
    except OSError as error:
        raise ConfigError(f'config.text.charset: {path} cannot be read: {error.strerror}') from None
    # Not splitlines, because U+2028 and similar characters may be tokens.
    lines = text.replace('\r\n', '\n').removesuffix('\n').split('\n')
    seen: dict[str, int] = {}
    for number, token in enumerate(lines, 1):
        where = f'config.text.charset: {path}, line {number}'
        if not token:
            raise ConfigError(f'{where} is empty; a dictionary has one token a line, '
                              'and a single blank for the blank')
        if token in seen:
            raise ConfigError(f'{where}: {token!r} is already in line {seen[token]}; '
                              'every token may stand there once')
        if separator and separator in token:
            raise ConfigError(f'{where}: {token!r} contains config.text.separator={separator!r}; '
                              'no token may')
        if not separator and len(token) > 1:
            raise ConfigError(f'{where}: {token!r} is more than one character; '
                              "that takes config.text.separator=' ' and labels with blanks between tokens")
        seen[token] = number
    return tuple(lines)
