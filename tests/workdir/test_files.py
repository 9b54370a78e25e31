"""The files of a run: what they record, and lines that were cut off."""

import json

import pytest

from recog.train.log import Log
from recog.workdir import files

WHOLE = [{'step': 1, 'loss': 2.0}, {'step': 3, 'loss': 0.1 + 0.2, 'words/accuracy': 1e-30}]


@pytest.fixture
def cut(tmp_path):
    """A folder whose log has half a line in its middle and half a line at its end."""
    first, last = (f'{json.dumps(line)}\n' for line in WHOLE)
    (tmp_path / files.LOG).write_text(f'{first}{{"step": 2, "lo\n{last}{{"step": 4, "loss": 1')
    return tmp_path


def test_lines_that_were_cut_off_are_left_out_of_the_log(cut):
    assert files.read_log(cut) == WHOLE


def test_a_run_goes_on_behind_a_log_that_was_cut_off(cut):
    log = Log(cut, 2, 5, first=True, tensorboard=False)
    log.write(3, {'loss': 0.5}, 'a line')
    log.close()
    assert (cut / files.LOG).read_text() == '{"step": 1, "loss": 2.0}\n{"step": 3, "loss": 0.5}\n'


def test_without_a_log_there_are_no_lines(tmp_path):
    assert files.read_log(tmp_path) == []


def test_a_run_is_done_once_all_is_written_and_nothing_stopped_it(tmp_path):
    for name in (files.RESULTS, files.SAMPLES_SHEET):
        assert not files.is_done(tmp_path)
        (tmp_path / name).touch()
    assert files.is_done(tmp_path)
    (tmp_path / files.STOPPED).touch()
    assert not files.is_done(tmp_path)
