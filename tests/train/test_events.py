"""Events for TensorBoard."""

import builtins
import errno
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from recog.train.events import Events


def written(folder):
    """The events of the only file in a folder."""
    [file] = folder.iterdir()
    content, found = file.read_bytes(), []
    while content:
        [size] = struct.unpack('Q', content[:8])
        found.append(Event.FromString(content[12:12 + size]))
        content = content[16 + size:]
    return found


def test_events_hold_the_values_of_each_step_and_hide_those_of_a_run_that_was_killed(tmp_path):
    events = Events(tmp_path / 'tensorboard', 4)
    events.write(5, {'loss': 0.5, 'words/accuracy': 0.25})
    events.close()
    version, start, *rest = written(tmp_path / 'tensorboard')
    assert version.file_version == 'brain.Event:2' and (start.step, start.session_log.status) == (5, 1)
    assert [(each.step, each.summary.value[0].tag, each.summary.value[0].simple_value) for each in rest] == [
        (5, 'loss', 0.5), (5, 'words/accuracy', 0.25)]


def test_a_file_that_cannot_be_written_is_an_error_at_once(tmp_path, monkeypatch):
    opened = builtins.open
    monkeypatch.setattr(builtins, 'open', lambda *given, **named: opened('/dev/full', 'wb', buffering=0))
    with pytest.raises(OSError) as said:
        Events(tmp_path, 0)
    assert said.value.errno == errno.ENOSPC
