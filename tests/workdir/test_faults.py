"""Faults that pass are told from damage: no sound checkpoint is passed over or moved for them."""

import errno
import os
from pathlib import Path

import pytest

from recog.workdir.checkpoints import Checkpoints
from recog.workdir.faults import Damaged, Unreadable, last_step, why_not_written

PASSING = {
    'no descriptor left': OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    'the disk does not answer': OSError(errno.EIO, os.strerror(errno.EIO)),
    'no permission': PermissionError(errno.EACCES, 'Permission denied'),
    "TensorStore's word for it": ValueError('PERMISSION_DENIED: Error opening local file "x/d/1"'),
    "TensorStore's number of it": ValueError('UNKNOWN: "x" [OS error 5: EIO Input/output error]'),
}


@pytest.fixture
def opened(run):
    """The checkpoints of a workdir with one, of step 3, about to be trained on."""
    checkpoints = Checkpoints(run)
    yield checkpoints
    checkpoints.close()


def failing(monkeypatch, checkpoints, errors):
    """Let reading end in these errors, one after another, and then succeed."""
    restore, waiting = checkpoints._manager.restore, list(errors)

    def restored(*given, **named):
        if waiting:
            raise waiting.pop(0)
        return restore(*given, **named)

    monkeypatch.setattr(checkpoints._manager, 'restore', restored)


def moved(checkpoints):
    """Training's way to its newest sound step."""
    return checkpoints.newest_sound(lambda step: checkpoints.run(step)['position'], set_aside=True)


@pytest.mark.parametrize('kind', PASSING)
def test_a_fault_that_may_pass_ends_in_one_line_and_the_step_stays(run, opened, monkeypatch, kind):
    failing(monkeypatch, opened, [PASSING[kind]] * 2)
    with pytest.raises(Unreadable, match=r'checkpoint .*/3 cannot be read now, and may be sound: ') as said:
        moved(opened)
    assert len(str(said.value).splitlines()) == 1
    assert opened.steps() == [3] and not (run / 'damaged').exists()


def test_what_orbax_hides_of_a_fault_is_found_in_the_files_of_the_step(run, opened, monkeypatch):
    failing(monkeypatch, opened, [ValueError('Individual parameter subdirectory not found')] * 2)
    open_file = Path.open

    def closed(file, *given, **named):
        if 'variables' in file.parts:
            raise PermissionError(errno.EACCES, 'Permission denied', str(file))
        return open_file(file, *given, **named)

    monkeypatch.setattr(Path, 'open', closed)
    with pytest.raises(Unreadable, match='Permission denied: .*/3/variables/'):
        moved(opened)
    assert not (run / 'damaged').exists()


def test_a_fault_that_has_passed_is_none(run, opened, monkeypatch):
    failing(monkeypatch, opened, [ValueError('Individual parameter subdirectory not found')])
    assert moved(opened) == 3


def test_what_stays_wrong_with_files_that_can_be_read_is_damage(run, opened, monkeypatch):
    failing(monkeypatch, opened, [ValueError('DATA_LOSS: not a zarr array')] * 2)
    assert moved(opened) is None and len(list((run / 'damaged').iterdir())) == 1


def test_a_file_that_is_missing_is_damage(run, opened):
    next(file for file in (run / 'checkpoints' / '3' / 'run').iterdir() if file.stat().st_size > 100).unlink()
    with pytest.raises(Damaged):
        opened.run(3)


def test_a_record_that_cannot_be_read_now_is_no_record_of_a_bad_step(run, monkeypatch):
    """Training would take it for one without accuracy, and delete it."""
    def fails(*_, **__):
        raise PASSING['the disk does not answer']

    monkeypatch.setattr(Checkpoints, '_read', fails)
    with pytest.raises(OSError, match='Input/output error'):
        Checkpoints(run)


def test_the_last_checkpoint_is_named_even_where_there_is_none_or_nobody_may_look(run, monkeypatch):
    assert last_step(run / 'checkpoints') == 'step 3' and last_step(run / 'nowhere') == 'none'

    def fails(_):
        raise PASSING['no permission']

    monkeypatch.setattr(Path, 'iterdir', fails)
    assert last_step(run / 'checkpoints').startswith('unknown (')


def test_a_failed_save_says_the_systems_words_wherever_they_stand():
    error = ValueError(f'RESOURCE_EXHAUSTED: No space left on device {"x" * 400}')
    assert why_not_written(error).startswith('No space left on device: ')
    hidden = RuntimeError('no commit')
    hidden.__cause__ = error
    assert why_not_written(hidden) == 'No space left on device: no commit'
    assert why_not_written('No space left on device (3 MB free)') == 'No space left on device (3 MB free)'
    assert why_not_written(ValueError('other')) == 'other'
