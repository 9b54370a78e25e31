"""Sweeps: what they would run, what they refuse, and that they train every run once, even if interrupted."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from small import DEMO, NARROW, ROOT, on

from recog.commands import sweep
from recog.config import experiments, recipe
from recog.errors import ConfigError
from recog.sweep import here, slurm
from recog.sweep.here import _by_devices
from recog.sweep.runs import chosen_seeds, last_line, plan
from recog.sweep.sweep import alone

EXPERIMENT = f'''
from recog import config as configs

ALLOWED = {{}}
VARIANTS = {{
    'small': {{}},
    'harder': {{'render.difficulty': 1.0}},
    'odd': {{'mesh.data': 3}},
    'demo': {{}},
}}


def get_config(variant='small'):
    config = configs.load({DEMO!r}, {NARROW!r})
    config.eval.report = ('words',)
    config.render.count = 64
    config.train.length, config.eval.every, config.checkpoint.every = '1 steps', '0 steps', '1000 steps'
    return configs.variant(config, VARIANTS, variant)
'''
# The defaults of the command line.
DEFAULTS = {'variants': 'all', 'seeds': '1', 'workdir': '', 'data': './data', 'overrides': [],
            'dry_run': False, 'parallel': 1,
            'devices_per_run': 0, 'slurm': '', 'slurm_option': []}


def options(place, **given):
    return {**DEFAULTS, 'recipes': [str(place / 'tiny.py')], 'workdir': str(place / 'runs'),
            'data': str(place / 'data'), **given}


def run(place, **given):
    return sweep.run(argparse.Namespace(**options(place, **given)))


def make(place):
    """An experiment file and five words to measure."""
    (place / 'tiny.py').write_text(EXPERIMENT)
    words = place / 'data' / 'words'
    words.mkdir(parents=True)
    for number in range(5):
        cv2.imwrite(str(words / f'{number}.png'), np.full((20, 60, 3), 40 * number, np.uint8))
    (words / 'labels.tsv').write_text(''.join(f'{number}.png\tword\n' for number in range(5)))
    return place


@pytest.fixture
def place(tmp_path):
    return make(tmp_path)


@pytest.fixture(scope='module')
def counted():
    """The kind and number of the devices, which a child process finds out."""
    return here._devices()


@pytest.fixture(scope='module')
def swept(tmp_path_factory):
    """Two variants times two seeds, two at a time on a device each."""
    place = make(tmp_path_factory.mktemp('swept'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XLA_FLAGS', on(2))
        assert run(place, variants='small,harder', seeds='2', devices_per_run=1) == 0
    return place


def sizes(place):
    return {file.name: file.stat().st_size for file in (place / 'runs').glob('*.log')}


@pytest.mark.parametrize('chosen, numbers',
                         [('1', [0]), ('3', [0, 1, 2]), ('0,3,7', [0, 3, 7]), ('7,', [7]), ('2,2', [2])])
def test_seeds_are_how_many_or_which(chosen, numbers):
    assert chosen_seeds(chosen) == numbers


@pytest.mark.parametrize('chosen', ['0', '-1', '', ',', 'a', '1,-2', '1.5'])
def test_seeds_that_make_no_sense_are_refused(chosen):
    with pytest.raises(ConfigError, match=f"--seeds '{chosen}' must be how many"):
        chosen_seeds(chosen)


def test_a_dry_run_prints_the_commands_of_all_variants_but_the_demo_and_leaves_nothing(place, capsys):
    assert run(place, seeds='0,4', dry_run=True,
               overrides=['--config.train.batch=32', '--config.render.fonts=/a b']) == 0
    out, err = capsys.readouterr()
    assert err == f'recog sweep: all variants of {place}/tiny.py but demo: small, harder, odd\n'
    assert not (place / 'runs').exists()
    lines = [shlex.split(line) for line in out.splitlines()]
    order = [('small', 0), ('harder', 0), ('odd', 0), ('small', 4), ('harder', 4), ('odd', 4)]
    assert lines == [
        [sys.executable, '-m', 'recog', 'train', '--config', f'{place / "tiny.py"}:{variant}',
         f'--config.seed={seed}',
         '--workdir', str(place / 'runs' / f'{variant}-seed{seed}'), '--data', str(place / 'data'),
         '--config.train.batch=32', '--config.render.fonts=/a b'] for variant, seed in order]


def test_recipes_of_several_files_are_trained_side_by_side(place, capsys):
    (place / 'other.py').write_text(EXPERIMENT)
    tiny, other = str(place / 'tiny.py'), str(place / 'other.py')
    assert run(place, recipes=[f'{tiny}:harder', other], variants='small,demo', dry_run=True) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line[5], Path(line[8]).name) for line in lines] == [
        (f'{tiny}:harder', 'tiny-harder-seed0'), (f'{other}:small', 'other-small-seed0'),
        (f'{other}:demo', 'other-demo-seed0')]
    planned = plan([f'{tiny}:small', f'{tiny}:harder'], place / 'runs', '', [], variants='all', seeds='1')
    assert [each.name for each in planned] == ['small-seed0', 'harder-seed0']  # as of one file


def test_the_demo_runs_where_it_is_asked_for(place, capsys):
    assert run(place, variants='demo', dry_run=True) == 0
    out, err = capsys.readouterr()
    assert 'tiny.py:demo' in out and err == ''


@pytest.mark.parametrize('given, message', [
    ({'variants': 'smal'},
     "'smal' is not in .*did you mean 'small'.*there are: all, small, harder, odd, demo"),
    ({'recipes': ['tiny.py:small'], 'variants': 'odd'}, '--variants odd is of files without a variant'),
    ({'recipes': ['a/tiny.py', 'tiny.py']}, 'a/tiny.py and tiny.py have one name'),
    ({'variants': ','}, "--variants ',' names none"),
    ({'recipes': ['experiments/none.py']}, "experiment file 'experiments/none.py' does not exist"),
    ({'workdir': ''}, "--workdir '' must be a local folder"),
    ({'workdir': 'gs://bucket/runs'}, "--workdir 'gs://bucket/runs' must be a local folder"),
    ({'overrides': ['--config.train.bach=3']}, 'tiny.py:small: config.train.bach is not a field'),
    ({'overrides': ['--config.train.batch=0']}, 'tiny.py:small: config.train.batch=0 must be at least 1'),
    ({'overrides': ['--config.text.charset=none.txt']},
     "tiny.py:small: config.text.charset='none.txt' is neither"),
    ({'overrides': ['--config.seed=3']}, "--config.seed is each run's own"),
    ({'overrides': ['--config.seed', '3']}, "--config.seed is each run's own"),
    ({'overrides': ['--config.data.train=none:train']}, "set 'none:train' is not there"),
    ({'parallel': 0}, '--parallel 0 at least 1'),
    ({'parallel': 2, 'devices_per_run': 1}, 'choose one'),
    ({'parallel': 1000}, '--parallel 1000: there are .* cores'),
    ({'devices_per_run': 9}, '--devices-per-run 9: there are 8 cpu devices'),
    ({'slurm_option': ['timeout_min=5']}, '--slurm-option is of --slurm alone'),
    ({'slurm': 'slurm'}, '--slurm needs a time limit'),
    ({'slurm': 'slurm', 'slurm_option': ['timeout_min']}, "'timeout_min' must be NAME=VALUE"),
    ({'slurm': 'slurm', 'slurm_option': ['timeout_min=5', 'nodes=2']}, 'one process on one node'),
])
def test_a_mistake_is_one_line_and_nothing_runs(place, given, message, counted, monkeypatch):
    monkeypatch.setattr(here, '_devices', lambda: counted)
    with pytest.raises(ConfigError, match=message) as refused:
        run(place, **given)
    assert '\n' not in str(refused.value) and not list((place / 'runs').glob('*.log'))


def test_a_variant_that_cannot_be_loaded_is_named_and_not_left_out(place):
    (place / 'tiny.py').write_text(EXPERIMENT.replace("'mesh.data'", "'mesh.date'"))
    with pytest.raises(ConfigError, match='tiny.py:odd cannot be loaded: .*date'):
        run(place)


def test_a_workdir_of_another_experiment_is_named_before_anything_starts(place):
    other = place / 'runs' / 'harder-seed0'
    other.mkdir(parents=True)
    config = experiments.load(f'{place / "tiny.py"}:harder', ['--config.optimizer.rate=0.5'])
    (other / 'config.json').write_text(recipe.to_json(config))
    with pytest.raises(ConfigError,
                       match=f'{other} holds another experiment: config.optimizer.rate: 0.5 -> '):
        run(place, variants='small,harder', dry_run=True)
    (other / 'config.json').write_text('{')
    with pytest.raises(ConfigError, match='config.json is damaged'):
        run(place, variants='small,harder', dry_run=True)
    (other / 'config.json').rename(other / 'letter.txt')
    with pytest.raises(ConfigError, match=f'{other} holds other things'):
        run(place, variants='small,harder', dry_run=True)


def test_how_a_run_is_carried_out_may_change(place, capsys):
    begun = place / 'runs' / 'small-seed0'
    begun.mkdir(parents=True)
    config = experiments.load(f'{place / "tiny.py"}:small',
                              ['--config.data.workers=2', '--config.log.every=7'])
    (begun / 'config.json').write_text(recipe.to_json(config))
    assert run(place, variants='small', dry_run=True) == 0 and 'small-seed0' in capsys.readouterr().out


def test_two_sweeps_do_not_work_in_one_folder(place):
    (place / 'runs').mkdir()
    with alone(place / 'runs'), pytest.raises(ConfigError, match='another sweep, .* is at work there'):
        run(place)


def test_gpus_are_shared_out_so_that_each_run_sees_its_own_alone(monkeypatch):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    cores = (0, 1)
    assert [dict(each.environment) for each in _by_devices(cores, 'gpu', 5, 2)] == [
        {'CUDA_VISIBLE_DEVICES': '0,1'}, {'CUDA_VISIBLE_DEVICES': '2,3'}]
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,6')
    assert [dict(each.environment) for each in _by_devices(cores, 'gpu', 2, 1)] == [
        {'CUDA_VISIBLE_DEVICES': '4'}, {'CUDA_VISIBLE_DEVICES': '6'}]
    pairs = [each.options for each in _by_devices(cores, 'cpu', 4, 2)]
    assert pairs == [('--devices', '0,1'), ('--devices', '2,3')]
    with pytest.raises(ConfigError, match='TPUs belong to one process'):
        _by_devices(cores, 'tpu', 4, 1)


def test_runs_that_share_a_cpu_have_cores_of_their_own(counted, monkeypatch):
    monkeypatch.setattr(here, '_devices', lambda: counted)
    assert counted == ('cpu', 8)
    cores = sorted(os.sched_getaffinity(0))
    found = here.places(len(cores))
    assert [each.cores for each in found] == [(core,) for core in cores]


@pytest.mark.slow
def test_a_sweep_trains_every_run_and_writes_one_table(swept):
    runs = [f'{variant}-seed{seed}' for variant in ('small', 'harder') for seed in (0, 1)]
    for name in runs:
        results = json.loads((swept / 'runs' / name / 'results.json').read_text())
        assert results['sets']['words']['count'] == 5 and results['seed'] == int(name[-1])
    assert set(sizes(swept)) == {f'{name}.log' for name in runs}
    logs = [(swept / 'runs' / f'{name}.log').read_text().splitlines()[0] for name in runs]
    assert {line.rpartition('--devices ')[2] for line in logs} == {'0', '1'}
    table = (swept / 'runs' / 'results.md').read_text()
    assert table.startswith('| variant | seeds | parameters | steps | images | images/s | minutes | words | ')
    assert '| small | 0, 1 |' in table and '| harder | 0, 1 |' in table
    page = (swept / 'runs' / 'sweep.html').read_text()
    assert all(name in page for name in runs) and '<svg' in page


@pytest.mark.slow
def test_what_is_done_is_not_run_again(swept, capsys):
    before = sizes(swept)
    assert run(swept, variants='small,harder', seeds='2', devices_per_run=1) == 0
    out = capsys.readouterr().out
    assert sizes(swept) == before and out.count('was done before: accuracy') == 4 and 'started' not in out
    assert run(swept, variants='small,harder', seeds='2', dry_run=True) == 0 and capsys.readouterr().out == ''


@pytest.mark.slow
def test_a_run_that_fails_is_named_with_its_last_words_and_the_others_are_kept(swept, capsys):
    assert run(swept, variants='small,odd') == 1
    out, err = capsys.readouterr()
    assert 'small-seed0: was done before' in out and '---' in out
    line = "recog sweep: odd-seed0 failed: recog train: config.mesh={'data': 3, 'fsdp': 1} does not fit"
    assert line in err
    assert err.splitlines()[-1] == 'recog sweep: 1 of 2 runs are not done: odd-seed0'


@pytest.mark.slow
def test_results_of_a_run_that_was_not_trained_to_its_end_do_not_count(swept, capsys):
    workdir = swept / 'runs' / 'small-seed1'
    (workdir / 'stopped').touch()
    assert run(swept, variants='small', seeds='1,', dry_run=True) == 0
    assert 'small-seed1' in capsys.readouterr().out
    (workdir / 'stopped').unlink()


@pytest.mark.slow
def test_a_sweep_that_is_stopped_saves_and_the_same_line_goes_on(place, monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', on(1))
    code = ('import argparse, json, sys\nfrom recog.commands import sweep\n'
            'try: sys.exit(sweep.run(argparse.Namespace(**json.loads(sys.argv[1]))))\n'
            'except KeyboardInterrupt: sys.exit(130)')
    given = options(place, variants='small', seeds='2', overrides=['--config.train.length=60 steps'])
    started = subprocess.Popen([sys.executable, '-c', code, json.dumps(given)], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = place / 'runs' / 'small-seed0'
    log = first / 'metrics.jsonl'
    while started.poll() is None and not (log.is_file() and log.read_text()):
        time.sleep(0.02)
    started.send_signal(signal.SIGTERM)
    out, err = started.communicate(timeout=120)
    assert started.returncode == 130 and (first / 'stopped').is_file(), err
    assert 'small-seed0: started' in out and 'small-seed1' not in out and 'the same line goes on' in err
    before = (place / 'runs' / 'small-seed0.log').read_text()
    assert 'which is saved' in before
    assert sweep.run(argparse.Namespace(**given | {'seeds': '1'})) == 0
    after = (place / 'runs' / 'small-seed0.log').read_text().removeprefix(before)
    assert 'starting at step ' in after and 'starting at step 0' not in after
    assert (first / 'results.json').is_file()


def test_slurm_without_submitit_says_what_to_install(place, monkeypatch):
    monkeypatch.setitem(sys.modules, 'submitit', None)
    with pytest.raises(ConfigError, match=r"pip install 'recog\[sweep\]'"):
        run(place, slurm='slurm', slurm_option=['timeout_min=5'])


def test_options_of_slurm_are_numbers_words_or_json():
    given = ['timeout_min=60', 'slurm_partition=gpu', 'slurm_time=04:00:00',
             'slurm_additional_parameters={"qos": "low"}']
    assert slurm.options(given) == {'timeout_min': 60, 'slurm_partition': 'gpu', 'slurm_time': '04:00:00',
                                    'slurm_additional_parameters': {'qos': 'low'}}


def test_a_job_runs_the_command_and_keeps_what_it_says(place):
    each = plan([str(place / 'tiny.py')], place / 'runs', str(place / 'data'), [], variants='small',
                seeds='1')[0]
    (place / 'runs').mkdir()
    job = slurm.Job(each._replace(command=[sys.executable, '-c', 'print("learning"); exit(3)']))
    assert job() == 3 and last_line(each.log) == 'learning'
