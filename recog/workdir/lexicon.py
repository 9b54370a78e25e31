"""The list of words that a model prefers, in two files of its folder: `recog lexicon` writes them.

`lexicon.json` says how the list counts and where it comes from; `lexicon.txt.xz` has the words in order, of
each only what differs from the word before: a letter for how many letters both begin with, A for none, and
the rest.
"""

import json
import lzma
import os.path
import re
import string
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from recog.errors import ConfigError
from recog.text.lexicon import MOST_PREFERRED, Lexicon
from recog.workdir.files import LEXICON, LEXICON_WORDS
from recog.workdir.folder import write_whole

SHARED = string.ascii_uppercase  # letters for how many letters two words begin with
MOST, WIDEST = 1 << 26, 1000  # bytes of the words; texts of an image


def read(folder: Any) -> Lexicon | None:
    """The list of a folder, None if it has none."""
    if not (folder / LEXICON).is_file():
        return None
    missing = folder / LEXICON_WORDS
    if not missing.is_file():
        raise _damaged(missing)
    return parse((folder / LEXICON).read_bytes(), missing.read_bytes(), folder / LEXICON)


def parse(facts: bytes, words: bytes, place: Any) -> Lexicon:
    """The list in these two files; `place` is named where they are not sound."""
    try:
        record = json.loads(facts)
        text = lzma.LZMADecompressor().decompress(words, MOST).decode('ascii')
        if not _sound(record['prefer'], record['beam'], text):
            raise ValueError
        return Lexicon(frozenset(_unpacked(text)), record['prefer'], record['beam'])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, EOFError, lzma.LZMAError):
        raise _damaged(place) from None


def _sound(prefer: Any, beam: Any, text: str) -> bool:
    return type(prefer) in (int, float) and 0 <= prefer <= MOST_PREFERRED \
        and type(beam) is int and 1 < beam <= WIDEST and text.isalnum()


def write(folder: Any, lexicon: Lexicon, record: Mapping[str, Any]) -> None:
    """Keep a list in a folder, instead of what was before; the record says where it comes from."""
    facts = {'prefer': lexicon.prefer, 'beam': lexicon.beam, 'words': len(lexicon.words), **record}
    write_whole(folder / LEXICON_WORDS, packed(lexicon.words))
    write_whole(folder / LEXICON, json.dumps(facts, indent=1) + '\n')


def copy(folder: Any, to: Any) -> None:
    """Give another folder the list of this one."""
    for name in (LEXICON, LEXICON_WORDS):
        (to / name).write_bytes((folder / name).read_bytes())


def packed(words: frozenset[str]) -> bytes:
    """The content of lexicon.txt.xz."""
    text = ''.join(SHARED[shared] + word[shared:] for shared, word in (
        (min(len(os.path.commonprefix(pair)), len(SHARED) - 1), pair[1])
        for pair in pairwise(['', *sorted(words)])))
    return lzma.compress(text.encode('ascii'), preset=9 | lzma.PRESET_EXTREME)


def _unpacked(text: str) -> list[str]:
    words = ['']
    for shared, rest in re.findall('([A-Z])([a-z0-9]*)', text):
        words.append(words[-1][:SHARED.index(shared)] + rest)
    return words[1:]


def _damaged(place: Any) -> ConfigError:
    return ConfigError(f'{place} is damaged; make the list again with recog lexicon, or remove {LEXICON}')
