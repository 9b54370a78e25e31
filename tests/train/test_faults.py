"""What happens when things go wrong: kills, signals, full disks, damaged files, lost processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from programs import kill
from runs import differences, leaves, trained
from small import DEMO, ROOT, on

from recog.config import experiments
from recog.devices.mesh import one_device
from recog.errors import ConfigError
from recog.train import processes
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.faults import Damaged, SaveFailed
from recog.workdir.opened import open_workdir


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The undisturbed run, with its data beside it."""
    folder = tmp_path_factory.mktemp('whole')
    kill.words(folder / 'data' / 'words')
    kill.finish(folder / 'run')
    return folder / 'run'


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of the undisturbed run that a test may damage."""
    subprocess.run(['cp', '-r', whole, tmp_path / 'run'], check=True)
    return tmp_path / 'run'


def wait_for(there, process, seconds=120):
    end = time.monotonic() + seconds
    while not there() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert there(), process.communicate()[0]


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_bit_for_bit_as_the_undisturbed_one(whole, tmp_path):
    ended, kinds = kill.rounds(1, tmp_path, whole)  # tests/programs/kill.py does fifty
    assert ended == 1 and sum(kinds.values()) == 1


@pytest.mark.parametrize('number', (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT))
def test_either_signal_is_noticed_until_its_handler_is_restored(number):
    before, mesh = signal.getsignal(number), one_device()
    stop = processes.Stop()
    assert not stop.poll(mesh)()
    os.kill(os.getpid(), number)
    assert stop.poll(mesh)()
    stop.close()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once():
    stop = processes.Stop()
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.asked
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    stop.close()


@pytest.mark.slow
@pytest.mark.parametrize('number', (signal.SIGTERM, signal.SIGINT))
def test_a_signal_saves_the_step_and_the_run_goes_on_from_there(whole, tmp_path, number):
    kill.words(tmp_path / 'data' / 'words')
    process = kill.start(tmp_path / 'run')
    wait_for(lambda: kill.last_step(tmp_path / 'run' / 'metrics.jsonl') > 0, process)
    process.send_signal(number)
    said = process.communicate()[0]
    assert process.returncode == 0 and 'stopped by a signal after step' in said, said
    assert 'the same command goes on from there:\n  ' in said and f'--workdir {tmp_path / "run"}' in said
    assert ('again to stop at once' in said) == (number == signal.SIGINT)
    stopped = int(said.partition('stopped by a signal after step ')[2].partition(',')[0])
    saved = Checkpoints(tmp_path / 'run', writing=False)
    assert saved.latest() == stopped < kill.STEPS
    saved.close()
    kill.finish(tmp_path / 'run')
    assert [name for name in differences(whole, tmp_path / 'run', kill.STEPS) if name != 'metrics'] == []


def test_a_full_disk_is_one_line_and_the_last_sound_checkpoint_stays(copied):
    limit = ('import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); '
             'sys.argv[0] = "recog"; runpy.run_module("recog", run_name="__main__")')
    line = [sys.executable, '-c', limit, 'train', '--change', '--workdir', str(copied),
            '--config.train.length=40 steps', '--config.log.to=tensorboard',
            '--data', str(copied.parent / 'data')]
    # A copy of the compile cache of the suite, so that a program that cannot be written whole damages no
    # other test.
    cache = shutil.copytree(os.environ['JAX_COMPILATION_CACHE_DIR'], copied.parent / 'xla',
                            copy_function=os.symlink)
    environment = {**os.environ, 'XLA_FLAGS': on(1), 'JAX_COMPILATION_CACHE_DIR': str(cache)}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    # JAX warns that its cache cannot be written.
    [last] = [line for line in done.stderr.splitlines() if 'warn' not in line.lower()]
    assert last.startswith('recog train:') and 'File too large' in last, last
    assert f'last checkpoint: step {kill.STEPS}' in last
    assert open_workdir(copied).step <= kill.STEPS


def test_a_checkpoint_larger_than_the_disk_is_not_begun(copied):
    saved = Checkpoints(copied)
    huge = types.SimpleNamespace(nbytes=1 << 62)
    said = f'No space left on device .* needed.; last checkpoint: step {kill.STEPS}'
    with pytest.raises(SaveFailed, match=said):
        saved.save(99, {'variables': huge}, {}, {})
    saved.close()
    assert 99 not in saved.steps()


def flip(file, place, bit=3):
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.write_bytes(data)


def array_files(step):
    files = [file for file in step.rglob('*') if file.is_file() and file.parent.name == 'd']
    return sorted(files, key=lambda file: -file.stat().st_size)


def test_flipped_bits_in_arrays_are_found_or_harmless(copied, capsys):
    saved = Checkpoints(copied, writing=False)
    newest = saved.best()
    saved.close()
    want = [np.asarray(leaf) for leaf in leaves(copied, newest)]
    file = array_files(copied / 'checkpoints' / str(newest) / 'variables')[0]
    sound = file.read_bytes()
    found = 0
    for place in np.random.default_rng(0).integers(0, len(sound), 8):
        flip(file, int(place))
        try:
            same = all(map(np.array_equal, leaves(copied, newest), want))
            assert same
        except Damaged as error:
            assert f'checkpoint {newest} is damaged: variables' in str(error)
            found += 1
        file.write_bytes(sound)
    assert found >= 6


SPOILT = {
    'a cut file': lambda step: os.truncate(array_files(step / 'variables')[0], 100),
    'an empty file': lambda step: os.truncate(array_files(step / 'variables')[0], 0),
    'a missing file': lambda step: array_files(step / 'variables')[0].unlink(),
    'a missing item': lambda step: subprocess.run(['rm', '-r', step / 'variables'], check=True),
    'an empty step': lambda step: subprocess.run(f'rm -r {step}/*', shell=True, check=True),
    'a missing record': lambda step: subprocess.run(['rm', '-r', step / 'run'], check=True),
    'another position': lambda step: edit(step, '"position":', '"position": 1'),
    'an empty record': lambda step: os.truncate(record_file(step), 0),
}


def record_file(step):
    files = (file for file in (step / 'run').iterdir() if file.is_file())
    return next(file for file in files if b'vocab_hash' in file.read_bytes())


def edit(step, old, new):
    text = record_file(step).read_text()
    assert old in text
    record_file(step).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize('kind', SPOILT)
def test_a_damaged_step_is_named_and_the_newest_sound_one_used(copied, capsys, kind):
    saved = Checkpoints(copied, writing=False)
    best = saved.best()
    other = max(step for step in saved.steps() if step != best)
    saved.close()
    SPOILT[kind](copied / 'checkpoints' / str(best))
    opened = open_workdir(copied)
    assert opened.step == other
    assert f'checkpoint {best} is damaged' in capsys.readouterr().err


@pytest.mark.parametrize('spoil', [
    lambda step: os.truncate(array_files(step / 'optimizer')[0], 50),
    lambda step: os.truncate(record_file(step), 20),
])
def test_training_sets_a_damaged_step_aside_and_goes_on_from_the_sound_one(copied, spoil, capsys):
    kill.words(copied.parent / 'data' / 'words')
    spoil(copied / 'checkpoints' / str(kill.STEPS))
    trained(experiments.load(DEMO, kill.RECIPE), copied, root=copied.parent / 'data')
    assert f'checkpoint {kill.STEPS} is damaged' in capsys.readouterr().err
    assert len(list((copied / 'damaged').iterdir())) == 1
    saved = Checkpoints(copied, writing=False)
    assert saved.latest() == kill.STEPS and saved.run(kill.STEPS)['position'] == kill.STEPS
    saved.close()


def test_a_run_without_any_sound_checkpoint_is_refused(copied):
    for step in (copied / 'checkpoints').iterdir():
        os.truncate(array_files(step / 'variables')[0], 0)
    with pytest.raises(ConfigError, match='holds no sound checkpoint'):
        open_workdir(copied)


def pair(workdir, *extra, overrides=((), ())):
    """Two processes of one run."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{probe.getsockname()[1]}'
    return [kill.start(workdir, '--coordinator', address, '--processes', '2', '--process', str(index), *extra,
                       *overrides[index]) for index in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize('number, victim', [(signal.SIGKILL, 1), (signal.SIGKILL, 0), (signal.SIGSTOP, 1)])
def test_a_process_that_dies_or_freezes_ends_the_other_which_names_it(tmp_path, number, victim):
    kill.words(tmp_path / 'data' / 'words')
    started = pair(tmp_path / 'run', '--patience', '5', '--config.train.length=100000 steps',
                   '--config.eval.every=0 steps')
    wait_for((tmp_path / 'run' / 'metrics.jsonl').exists, started[0])
    started[victim].send_signal(number)
    begun = time.monotonic()
    said = started[1 - victim].communicate(timeout=60)[0]
    assert time.monotonic() - begun < 60
    started[victim].kill()
    started[victim].communicate()
    assert started[1 - victim].returncode != 0
    assert f'process {victim}' in said, said


def test_a_process_that_was_frozen_itself_gives_the_others_all_their_time_again(tmp_path, monkeypatch):
    watch, now = processes.Watch(tmp_path, 5), [100.0]
    watch._count, watch._beat = 2, 0.01
    (tmp_path / '.processes').mkdir()
    (tmp_path / '.processes' / '1').write_text('7')
    monkeypatch.setattr(processes.time, 'monotonic', lambda: now[0])
    lost, beats = [], iter((1, 1, 20, 1, 2, 2, 2))  # seconds between signs of life: for 20 it was frozen

    def wait(_):
        step = next(beats, None)
        now[0] += step or 0
        return step is None

    monkeypatch.setattr(watch, '_exit', lost.append)
    watch._over = types.SimpleNamespace(wait=wait)
    watch._run()
    assert lost == ['process 1 gave no sign of life for 5 s (dead or frozen)'] and now[0] == 129


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_the_same_saved_step(tmp_path):
    kill.words(tmp_path / 'data' / 'words')
    started = pair(tmp_path / 'run', '--config.train.length=100000 steps', '--config.eval.every=0 steps')
    wait_for((tmp_path / 'run' / 'metrics.jsonl').exists, started[0])
    started[1].send_signal(signal.SIGUSR1)
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    logged = json.loads((tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()[-1])
    saved = Checkpoints(tmp_path / 'run', writing=False)
    assert f'stopped by a signal after step {saved.latest()}' in said[0] and saved.latest() >= logged['step']
    saved.close()


@pytest.mark.parametrize('overrides, message', [
    (((), ('--config.train.batch=8',)),
     "processes differ in config.train.batch: process 0 has 16, process 1 has 8"),
    (((), ('--config.data.train=absent:train',)), "process 1: set 'absent:train' is not there"),
])
def test_processes_that_differ_refuse_to_start_together(tmp_path, overrides, message):
    kill.words(tmp_path / 'data' / 'words')
    started = pair(tmp_path / 'run', overrides=overrides)
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [2, 2], said
    assert all(message in words for words in said), said


def test_the_code_of_recog_has_a_hash_that_all_processes_must_share():
    assert len(processes.code()) == 12 and processes.code() == processes.code()


def test_a_workdir_that_not_all_processes_see_is_refused(tmp_path):
    kill.words(tmp_path / 'data' / 'words')
    kill.words(tmp_path / 'other' / 'data' / 'words')
    started = pair(tmp_path / 'run', overrides=((), ('--workdir', str(tmp_path / 'other' / 'run'))))
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [2, 2], said
    assert all('is not seen by process 1' in words for words in said)
