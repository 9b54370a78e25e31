"""Sets measured as `recog predict` reads them: with their images adapted to the training images."""

import csv
import json
import shutil

import cv2
import pytest
from readers import RUN, SAMPLES, publish

from recog.commands import command_line
from recog.data.rows import PackedSource
from recog.evaluation import robustness
from recog.reading import adapt


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with a run that reads light ink, and its samples in dark ink as the set `data/paper`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RUN, 'run')
    labels = dict(line.split('\t')[:2] for line in (RUN / 'samples' / 'labels.tsv').read_text().splitlines())
    (tmp_path / 'data' / 'paper').mkdir(parents=True)
    for file in SAMPLES:
        name = file.rpartition('/')[2]
        cv2.imwrite(f'data/paper/{name}', 255 - cv2.imread(file))
    (tmp_path / 'data' / 'paper' / 'labels.tsv').write_text(
        ''.join(f'{name}\t{text}\n' for name, text in labels.items()))
    return tmp_path / 'run'


def measured(run, *options):
    """The rows that `recog evaluate` adds: by how images were taken, how many formulas are right."""
    assert command_line.main(['evaluate', str(run), '--set', 'paper', *options]) == 0
    first = json.loads((run / 'results.json').read_text())
    return {each.get('images'): each['sets']['paper']['right'] for each in (first, *first.get('more', ()))
            if 'paper' in each['sets']}


def test_dark_ink_is_read_once_images_are_adapted_and_both_figures_stand_side_by_side(run):
    assert measured(run)[None] < 4
    both = measured(run, '--adapt')
    assert set(both) == {None, 'adapted'} and both['adapted'] > both[None] + 3
    assert measured(run, '--adapt') == both  # in the same way: the row is replaced
    file, = run.glob('predictions-*imagesadapted*.tsv')
    rows = list(csv.DictReader(file.open(), delimiter='\t'))
    assert sum(row['right'] == 'right' for row in rows) == both['adapted']


def test_corrupted_images_are_adapted_too_if_asked_for(run):
    line = ['evaluate', str(run), '--set', 'paper', '--corrupt', 'contrast']
    assert command_line.main(line) == command_line.main([*line, '--adapt']) == 0
    plain, adapted = robustness.read(run)
    assert 'images' not in plain and adapted['images'] == 'adapted' and adapted['clean'] > plain['clean']


def test_a_weakness_of_a_reader_is_measured_as_predict_reads(run, tmp_path):
    assert publish(tmp_path / 'new', '--set', 'paper', '--weakness', 'dark=paper', '--data',
                   tmp_path / 'data') == 0
    measured, weak = (tmp_path / 'new' / 'card.md').read_text().split('## Known weaknesses')
    assert 'images adapted' not in measured and '| dark: paper | ' in weak and 'images adapted' in weak


def test_what_cannot_be_adapted_is_refused(capsys, tmp_path):
    class Fitted(PackedSource):
        name = 'packed'
        rows = labels = arrays = codes = notes = __len__ = None
    with pytest.raises(ValueError, match='packed cannot be adapted: it is packed for a recipe'):
        adapt.adapted_source(Fitted(), None)
    assert command_line.main(['evaluate', 'words', '--set', 'rendered:test', '--adapt']) == 2
    assert '--adapt is for recipes with config.image.ink; ' in capsys.readouterr().err
