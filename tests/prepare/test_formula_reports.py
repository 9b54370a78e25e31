"""Reports of formulas: they speak of tokens and canvases, those of words of characters."""

import cv2
import numpy as np
import pytest

from recog.prepare import pieces, report, sheet
from recog.prepare.folding import FORMULAS, WORDS
from recog.prepare.survey import Survey
from recog.prepare.tally import Tally
from recog.text.latex import UNDRAWN

LABELS = ('x ^ { 2 }', r'\frac { 1 } { x }', r'\sin x')


class Records(list):
    """Random access as array_record has it."""

    def __getitems__(self, places):
        return [self[place] for place in places]


def surveyed(folder, fold):
    """A survey of three formulas in images of several sizes, and their records."""
    survey, records, tally = Survey(folder, fold), Records(), Tally()
    for number, text in enumerate(LABELS):
        size = 30 + 20 * number, 60 + 100 * number
        tally.add(str(number), text, size, fold)
        image = cv2.imencode('.png', np.full((*size, 3), 40 * number, np.uint8))[1].tobytes()
        records.append({'id': str(number).encode(), 'text': text.encode(), 'image': image})
    survey.add({'train': tally}, [])
    return survey, {'train': records}


@pytest.fixture
def drawn(monkeypatch):
    """The names of what the sheet draws."""
    names = []
    for name in ('tokens', 'characters'):
        monkeypatch.setattr(sheet, name, lambda *given, name=name: (names.append(name),
                                                                    getattr(pieces, name)(*given)))
    monkeypatch.setattr(sheet, '_words', lambda figure, top, height, columns: names.extend(columns))
    return names


def test_formulas_are_told_by_tokens_and_canvases(tmp_path, drawn):
    survey, records = surveyed(tmp_path, FORMULAS)
    report.write(survey, 'formulas', {'train': 3}, records)
    text = (tmp_path / 'report.txt').read_text()
    assert '8 different tokens; most frequent: x 3, { 3, } 3' in text
    assert 'images that fit into a canvas' in text
    assert 'outside' not in text and 'length, characters' not in text and 'tokens, between blanks' in text
    assert drawn[0] == 'tokens' and not any('outside' in name for name in drawn)
    assert any('canvas' in name for name in drawn) and (tmp_path / 'report.png').stat().st_size


def test_words_are_told_by_characters(tmp_path, drawn):
    survey, records = surveyed(tmp_path, WORDS)
    report.write(survey, 'words', {'train': 3}, records)
    text = (tmp_path / 'report.txt').read_text()
    assert 'labels with characters outside the sets' in text and 'different tokens' not in text
    assert drawn[0] == 'characters' and any('outside' in name for name in drawn)


def test_only_canvases_that_hold_more_than_smaller_ones_are_listed():
    tally = Tally()
    for size in ((20, 60), (20, 60), (60, 200), (20, 200)):
        tally.add(str(size), 'x', size, FORMULAS)
    assert [line.split()[:2] for line in sheet.canvases(tally)] == [['50.0%', '32'], ['75.0%', '32'],
                                                                    ['100.0%', '64']]
    assert {'{', '}'} <= UNDRAWN
