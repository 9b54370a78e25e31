"""Prepared sets: their files are recorded, sizes are checked at each open, hashes on request."""

import pytest

from recog.commands import command_line
from recog.data.sets import open_set
from recog.errors import ConfigError

LABELS = [('a.png', 'one'), ('b.png', 'two')]


@pytest.fixture
def sealed(folder):
    """The root of a set whose files are recorded."""
    root = folder('words', LABELS)
    assert command_line.main(['check', str(root), '--seal']) == 0
    return root


def test_a_sound_set_is_said_to_be_sound(sealed, capsys):
    capsys.readouterr()
    assert command_line.main(['check', str(sealed)]) == 0
    assert capsys.readouterr().out == f'{sealed / "words"}: sound\n'


def test_a_set_without_a_record_is_named(folder, capsys):
    root = folder('words', LABELS)
    assert command_line.main(['check', str(root)]) == 0
    assert 'not recorded; see --seal' in capsys.readouterr().out


def test_a_flipped_bit_is_found_on_request(sealed, capsys):
    file = sealed / 'words' / 'a.png'
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert command_line.main(['check', str(sealed)]) == 1
    assert 'file a.png has other content than recorded' in capsys.readouterr().out


@pytest.mark.parametrize('spoil, said', [
    (lambda file: file.unlink(), 'file a.png is missing'),
    (lambda file: file.write_bytes(file.read_bytes()[:64]), 'has 64 bytes instead of'),
    (lambda file: file.write_bytes(b''), 'has 0 bytes instead of'),
])
def test_a_missing_cut_or_empty_file_is_found_when_the_set_is_opened(sealed, narrow, spoil, said):
    spoil(sealed / 'words' / 'a.png')
    with pytest.raises(ConfigError, match=said):
        open_set('words', narrow(), sealed)


def test_a_damaged_record_is_found(sealed, narrow):
    (sealed / 'words' / 'files.json').write_text('{')
    with pytest.raises(ConfigError, match='files.json is damaged'):
        open_set('words', narrow(), sealed)


def test_a_folder_without_any_set_is_refused(tmp_path, capsys):
    assert command_line.main(['check', str(tmp_path)]) == 2
    assert 'holds no prepared set' in capsys.readouterr().err
