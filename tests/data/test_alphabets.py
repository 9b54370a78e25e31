"""The characters of fonts are found out once, and again where a font has changed."""

import os
import shutil
from pathlib import Path

import matplotlib
import pytest

from recog.data.drawn import alphabets

OWN = Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')


@pytest.fixture
def read(monkeypatch):
    """alphabet(path) of a new process each time, and the files that were read for it."""
    seen = []
    original = alphabets._read
    monkeypatch.setattr(alphabets, '_read', lambda path: (seen.append(Path(path).name), original(path))[1])

    def alphabet(path):
        alphabets.alphabet.cache_clear()
        alphabets._kept.cache_clear()
        try:
            return alphabets.alphabet(str(path))
        finally:
            alphabets.remember()

    yield alphabet, seen
    alphabets.alphabet.cache_clear()
    alphabets._kept.cache_clear()


def test_a_font_is_read_once_and_again_when_it_changed(read, tmp_path):
    alphabet, seen = read
    font = tmp_path / 'a.ttf'
    shutil.copy(OWN, font)
    first = alphabet(font)
    assert {'a', 'Z', '9', 'ß', 'Ω'} <= first and '中' not in first
    assert alphabet(font) == first and seen == ['a.ttf']
    os.utime(font, (1, 1))
    assert alphabet(font) == first and seen == ['a.ttf'] * 2


def test_what_cannot_be_read_is_remembered_and_a_damaged_cache_is_made_again(read, tmp_path):
    alphabet, seen = read
    font = tmp_path / 'b.ttf'
    font.write_bytes(b'no font')
    for _ in range(2):
        with pytest.raises(alphabets.Broken):
            alphabet(font)
    assert seen == ['b.ttf']
    alphabets._file().write_text('{"b": 3}')
    with pytest.raises(alphabets.Broken):
        alphabet(font)
    assert seen == ['b.ttf'] * 2
