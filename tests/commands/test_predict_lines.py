"""A line of `recog predict` is one line whatever the name of the file, and its JSON is UTF-8."""

import json
import math
import os
from types import SimpleNamespace

import pytest

from recog.commands import predict
from recog.reading.read import Reading, Scored

NAMES = ('a\nb\tc.png', 'a\r\x85\u2028b.png', os.fsdecode(b'caf\xe9.png'), 'naïve 字.png', 'a\\nb".png')
READER = SimpleNamespace(about={'formula': False}, rotate='', places=False)


@pytest.mark.parametrize('name', NAMES)
def test_json_is_valid_and_gives_the_name_back(name, capsys):
    for reading in (Reading(0, 'text', -0.7), Reading(0, None, reason='is broken'),
                    Reading(0, 'text', -1.0, others=(Scored('text', -1.0, 0.5), Scored('test', -2.0, 0.6)))):
        predict._say(name, reading, READER, None, as_json=True, least=0.0)
        out = capsys.readouterr().out
        assert len(out.encode('utf-8').splitlines()) == 1
        found = json.loads(out)
        assert found['file'] == name and os.fsencode(found['file']) == os.fsencode(name)
        assert found.get('text') == reading.text


@pytest.mark.parametrize(('name', 'shown'), [
    (NAMES[0], r'a\nb\tc.png'), (NAMES[1], r'a\r\x85\u2028b.png'), (NAMES[3], NAMES[3])])
def test_a_line_stays_a_line_with_its_columns(name, shown, capsys):
    predict._say(name, Reading(0, 'text', math.log(0.5), 0.9), READER, None, as_json=False, least=0.0)
    predict._complain(name, 'is broken')
    out, err = capsys.readouterr()
    assert (out, err) == (f'{shown}\ttext\t0.500\n', f'recog predict: {shown}: is broken\n')
