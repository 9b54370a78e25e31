"""The command line as a user meets it: what it prints, what it leaves in the workdir, and what it refuses."""

import io
import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from small import DEMO, NARROW, ROOT, on

from recog.commands import command_line
from recog.commands.command_line import COMMANDS

ONE = ('--devices', '0')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    """A narrow demo, trained for four steps through the command,
    measured on forty rendered words of a folder."""
    from recog.config import experiments
    from recog.data.drawn.words import Words

    root = tmp_path_factory.mktemp('run')
    words = root / 'data' / 'words'
    words.mkdir(parents=True)
    for number, row in enumerate(Words(experiments.load(DEMO).render, 'test', seed=0).rows(range(40))):
        cv2.imwrite(str(words / f'{number}.png'), row.image)
        with (words / 'labels.tsv').open('a') as labels:
            labels.write(f'{number}.png\t{row.text}\n')
    folder = root / 'demo'
    assert command_line.main(['train', '--config', DEMO, '--workdir', str(folder), '--data',
                              str(root / 'data'), *ONE, *NARROW,
                         '--config.eval.report=words,absent', '--config.render.count=64']) == 0
    return folder


def run(capsys, *arguments):
    status = command_line.main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    assert 'Traceback' not in out.err
    return status, out.out, out.err


def test_training_leaves_everything_in_the_workdir(workdir):
    names = {'config.json', 'vocab.json', 'checkpoints', 'metrics.jsonl', 'results.json', 'results.md',
             'predictions.tsv', 'loss.png', 'loss.svg', 'samples.png', 'samples'}
    assert names <= {path.name for path in workdir.iterdir()}
    results = json.loads((workdir / 'results.json').read_text())
    assert results['sets']['words']['count'] == 40 and results['missing'] == ['absent']
    assert results['seed'] == 0
    lines = (workdir / 'predictions.tsv').read_text().splitlines()
    assert lines[0].split('\t') == ['id', 'set', 'truth', 'text', 'confidence', 'right', 'distance', 'score',
                                    'mean_token']
    assert len(lines) == 41
    logged = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    assert {'loss', 'rate', 'grad_norm', 'images_per_second', 'data_wait'} <= set(logged[0])


def test_the_same_command_again_goes_on_where_the_run_stands(workdir, capsys):
    before = (workdir / 'metrics.jsonl').read_text()
    status, out, _ = run(capsys, 'train', '--workdir', workdir, '--data', workdir.parent / 'data', *ONE)
    assert status == 0 and 'starting at step 4' in out
    assert (workdir / 'metrics.jsonl').read_text() == before


def test_training_another_experiment_in_the_workdir_is_refused(workdir, capsys):
    status, _, err = run(capsys, 'train', '--config', DEMO, '--workdir', workdir, *ONE, *NARROW,
                         '--config.model.lstm_hidden=16')
    assert status == 2 and 'holds another experiment: config.model.lstm_hidden: 8 -> 16' in err
    assert err.count('\n') == 1


def test_a_workdir_with_other_things_in_it_is_refused(tmp_path, capsys):
    (tmp_path / 'letter.txt').write_text('keep me')
    status, _, err = run(capsys, 'train', '--config', DEMO, '--workdir', tmp_path)
    assert status == 2 and 'holds other things' in err


def test_prediction_reads_folders_files_patterns_and_standard_input_in_the_order_given(
        workdir, capsys, monkeypatch):
    samples = workdir / 'samples'
    status, out, err = run(capsys, 'predict', workdir, samples, *ONE)
    lines = [line.split('\t') for line in out.splitlines()]
    assert status == 0 and err == ''
    assert [line[0] for line in lines] == [str(samples / f'{i}.png') for i in range(8)]
    assert all(len(line) == 3 and len(line[2].partition('.')[2]) == 3 for line in lines)
    order = [samples / '5.png', samples / '2.png']
    assert run(capsys, 'predict', workdir, *order, *ONE)[1].splitlines() == [out.splitlines()[5],
                                                                             out.splitlines()[2]]
    some = run(capsys, 'predict', workdir, samples / '[3-4].png', *ONE)[1]
    assert some.splitlines() == out.splitlines()[3:5]
    monkeypatch.setattr(sys, 'stdin', io.StringIO(f'{samples / "7.png"}\n{samples / "0.png"}\n'))
    assert run(capsys, 'predict', workdir, '-', *ONE)[1].splitlines() == [out.splitlines()[7],
                                                                          out.splitlines()[0]]


def test_prediction_writes_json_lines(workdir, capsys):
    _, plain, _ = run(capsys, 'predict', workdir, workdir / 'samples', *ONE)
    _, out, _ = run(capsys, 'predict', workdir, workdir / 'samples', '--json', '--batch', 3, *ONE)
    for line, answer in zip(plain.splitlines(), map(json.loads, out.splitlines()), strict=True):
        file, text, confidence = line.split('\t')
        assert (answer['file'], answer['text']) == (file, text)
        assert abs(answer['confidence'] - float(confidence)) < 2e-3


def test_prediction_equals_evaluation(workdir, capsys):
    _, out, _ = run(capsys, 'predict', workdir, workdir / 'samples', *ONE)
    measured = [line.split('\t') for line in (workdir / 'predictions.tsv').read_text().splitlines()[1:9]]
    for line, row in zip(out.splitlines(), measured, strict=True):
        assert line.split('\t')[1] == row[3] and abs(float(line.split('\t')[2]) - float(row[4])) < 2e-3


def test_a_recognizer_reads_paths_bytes_and_arrays_alike_and_says_what_is_no_image(workdir):
    import recog
    from recog.images.read import Unreadable

    read = recog.load(workdir, batch=2, devices='0')
    file = workdir / 'samples' / '0.png'
    answers = read([str(file), file.read_bytes(), cv2.imread(str(file))])
    assert len(set(answers)) == 1 and len(answers) == 3
    swapped = recog.load(workdir, devices='0', channels='rgb')(cv2.imread(str(file))[..., ::-1])
    assert swapped[0] == answers[0].text
    given = iter([str(file), b'no image', file])
    stream = read(given)
    first, none = next(stream), next(stream)
    assert first.text == answers[0].text and first.score == answers[0].score and not first.error
    assert none.text is None and none.error == 'is not an image'
    assert next(given) == file and not list(stream)  # no more was taken than is read together
    with pytest.raises(Unreadable, match='image 0: is not an image'):
        read(b'no image')


def test_a_broken_image_is_named_and_the_rest_is_read(workdir, capsys, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no image')
    status, out, err = run(capsys, 'predict', workdir, tmp_path / 'broken.png', workdir / 'samples' / '0.png',
                           *ONE)
    assert status == 1 and len(out.splitlines()) == 1
    assert err.splitlines() == [f'recog predict: {tmp_path / "broken.png"}: is not an image',
                                'recog predict: 1 of 2 images could not be read']
    status, out, err = run(capsys, 'predict', workdir, tmp_path / 'broken.png', *ONE)
    assert status == 1 and out == '' and err == f'recog predict: {tmp_path / "broken.png"}: is not an image\n'


def test_a_folder_of_good_and_bad_files_is_read_to_its_end(workdir, capsys, tmp_path):
    deep = np.full((20, 50), 40_000, np.uint16)
    whole = cv2.imencode('.png', np.full((40, 90, 3), 99, np.uint8))[1].tobytes()
    good = {'deep.png': cv2.imencode('.png', deep)[1].tobytes(), 'e.jpg': whole,
            'thin.png': cv2.imencode('.png', deep[:, :1])[1].tobytes()}
    bad = {'bomb.png': (whole[:16] + (100_000).to_bytes(4) * 2 + whole[24:],
                        'has too many pixels (100000 x 100000, at most 64,000,000)'),
           'empty.png': (b'', 'is empty'), 'half.png': (whole[:-20], 'is truncated'),
           'text.png': (b'words', 'is not an image')}
    for name, content in [*good.items(), *((name, content) for name, (content, _) in bad.items()),
                          ('notes.txt', b'nothing')]:
        (tmp_path / name).write_bytes(content)
    (tmp_path / 'x.png').mkdir()  # a folder like others, with nothing in it
    status, out, err = run(capsys, 'predict', workdir, tmp_path, *ONE)
    assert status == 1
    assert [line.split('\t')[0] for line in out.splitlines()] == [str(tmp_path / name) for name in good]
    assert err.splitlines() == [*(f'recog predict: {tmp_path / name}: {reason}'
                                  for name, (_, reason) in bad.items()),
                                'recog predict: 4 of 7 images could not be read']


@pytest.mark.parametrize('option', [('--beam', '4'), ('--width-rule', 'widest')])
def test_prediction_takes_a_beam_and_the_references_width_rule(workdir, capsys, option):
    status, out, _ = run(capsys, 'predict', workdir, workdir / 'samples', *option, *ONE)
    assert status == 0 and len(out.splitlines()) == 8


def test_evaluation_of_a_folder_counts_leaves_out_the_unreadable_and_names_it(workdir, capsys, folder,
                                                                              tmp_path):
    root = folder('words', [(f'{number}.png', 'word') for number in range(5)], ('3.png',))
    status, out, err = run(capsys, 'evaluate', workdir, '--set', 'words', '--data', root, '--out',
                           tmp_path / 'out', '--precision', 'highest', *ONE)
    assert status == 0 and re.search('^words +4 +0 ', out, re.M) and 'left out: 3.png: is not an image' in err
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert results['sets']['words']['unreadable_images'] == [['3.png', 'is not an image']]
    assert results['precision'] == 'highest'
    assert len((tmp_path / 'out' / 'predictions.tsv').read_text().splitlines()) == 5


@pytest.mark.parametrize('arguments, message', [
    (['predict', 'RUN', 'nothing.png'], 'image nothing.png does not exist'),
    (['predict', 'runs/none', 'x.png'], "workdir 'runs/none' does not exist"),
    (['predict', 'RUN', '--bem', '3', 'x.png'], "argument '--bem' is not understood"),
    (['evaluate', 'RUN', '--set', 'none:test'], "set 'none:test' is not there"),
    (['evaluate', 'RUN', '--step', '77'], '--step 77: '),
    (['evaluate', 'RUN', '--devices', '9'], '--devices 9: there are 8 cpu devices, 0 to 7'),
    (['train', '--workdir', 'runs/none'], '--config FILE:VARIANT is needed'),
    (['train', '--config', DEMO, '--workdir', 'runs/none', '--config.data.train=none:train'],
     "set 'none:train' is not there"),
    (['train', '--config', DEMO, '--workdir', 'runs/none', '--coordinator', 'x:1'], 'go together'),
    (['train', '--config', DEMO, '--workdir', 'runs/none', '--config.mesh.data=3'],
     'does not fit the 8 cpu devices'),
    (['config'], '--config FILE:VARIANT is needed'),
    (['config', DEMO + 'x'], "did you mean 'demo'"),
])
def test_a_mistake_is_one_line_and_a_status(workdir, capsys, arguments, message):
    status, _, err = run(capsys, *(str(workdir) if argument == 'RUN' else argument for argument in arguments))
    assert status == 2 and message in err and err.count('\n') == 1


def test_config_prints_the_recipe_its_parameters_and_its_cost(capsys):
    status, out, _ = run(capsys, 'config', DEMO.replace(':demo', ':r34'), '--config.train.batch=512')
    assert status == 0 and 'train.batch = 512' in out and 'trainable parameters: 24,481,029' in out
    assert '72 epochs = 72 epochs = 2,025,000 steps of 512 = 1,036,800,000 images' in out
    assert 'device-hours: not known' in out


@pytest.mark.slow
def test_bench_measures_and_config_then_knows_the_hours(capsys, tmp_path):
    file = tmp_path / 'bench.json'
    status, out, _ = run(capsys, 'bench', '--config', DEMO, *NARROW, *ONE, '--seconds', '0.05', '--batch',
                         '4', '--train-batch', '4', '--json', file)
    figures = json.loads(file.read_text())
    assert status == 0 and {'infer_1', 'infer_4', 'train_4', 'data'} <= set(figures)
    assert 'compile_warm_seconds' in out
    assert figures['train_4']['GFLOP_per_image'] > 2 * figures['infer_4']['GFLOP_per_image'] > 0
    assert np.isfinite(figures['data']['images_per_second_per_worker'])
    _, out, _ = run(capsys, 'config', DEMO, *NARROW)
    assert 'that recog bench measured' in out


def test_help_and_config_errors_come_without_jax():
    code = ('import sys; from recog.commands.command_line import main\n'
            'try: main(sys.argv[1:])\n'
            'except SystemExit: pass\n'
            'print([name for name in ("jax", "flax", "grain", "cv2", "tensorflow") if name in sys.modules])')
    for arguments in (['--help'], ['train', '--help'], ['train', '--config', DEMO + 'x', '--workdir', 'x'],
                      ['train', '--config', DEMO, '--workdir', 'x', '--config.train.bach=3']):
        done = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True,
                              cwd=ROOT, check=True)
        assert done.stdout.splitlines()[-1] == '[]'


@pytest.mark.parametrize('name', sorted(command.name for command in COMMANDS))
def test_every_command_explains_itself(capsys, name):
    with pytest.raises(SystemExit) as leaving:
        command_line.main([name, '--help'])
    assert leaving.value.code == 0 and 'usage: recog ' + name in capsys.readouterr().out


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, '-m', 'recog', '--help'], capture_output=True, text=True, cwd=ROOT,
                          check=True)
    assert 'usage: recog' in done.stdout


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    """The same steps, losses and words read, whether one process holds both
    devices or two of a Slurm job hold one each."""
    words = tmp_path / 'data' / 'words'
    words.mkdir(parents=True)
    (words / 'labels.tsv').write_text(''.join(f'{number}.png\tword\n' for number in range(5)))
    for number in range(5):
        cv2.imwrite(str(words / f'{number}.png'), np.full((20, 60, 3), 40 * number, np.uint8))
    train = ['train', '--config', DEMO, *NARROW, '--config.train.length=3 steps',
             '--config.eval.every=3 steps',
             '--config.checkpoint.every=3 steps', '--config.schedule.name=constant',
             '--config.schedule.warmup=0 steps', '--config.eval.report=words', '--config.render.count=64',
             '--data', str(tmp_path / 'data'), '--workdir']
    job = {'SLURM_JOB_ID': str(os.getpid()), 'SLURM_STEP_NODELIST': 'localhost', 'SLURM_NTASKS': '2',
           'SLURM_LOCALID': '0', 'XLA_FLAGS': on(1)}
    line = [sys.executable, '-m', 'recog', *train, str(tmp_path / 'two'), '--cluster']
    started = [subprocess.Popen(line, cwd=ROOT, env={**os.environ, **job, 'SLURM_PROCID': str(index)},
                                text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for index in range(2)]
    assert command_line.main([*train, str(tmp_path / 'one'), '--devices', '0,1']) == 0
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    one, two = ([json.loads(line) for line in (tmp_path / name / 'metrics.jsonl').read_text().splitlines()]
                for name in ('one', 'two'))
    for mine, theirs in zip(one, two, strict=True):
        assert mine['step'] == theirs['step']
        if 'loss' in mine:
            figures = ([line['loss'], line['grad_norm']] for line in (mine, theirs))
            np.testing.assert_allclose(*figures, rtol=1e-4)
    read = ([line.split('\t')[:4] for line in (tmp_path / name / 'predictions.tsv').read_text().splitlines()]
            for name in ('one', 'two'))
    assert next(read) == next(read)


@pytest.mark.parametrize(('asked', 'given'), [
    (None, 'glibc.malloc.hugetlb=1'), ('glibc.malloc.arena_max=4',
                                       'glibc.malloc.arena_max=4:glibc.malloc.hugetlb=1'),
    ('glibc.malloc.hugetlb=0', 'glibc.malloc.hugetlb=0')])
def test_the_command_begins_with_large_pages_unless_the_user_decides(asked, given):
    """The arguments and the interpreter's own options survive the restart."""
    code = 'import os, sys; from recog import start; print(os.environ.get("GLIBC_TUNABLES")); start.main()'
    environment = {name: value for name, value in os.environ.items() if name != 'GLIBC_TUNABLES'}
    environment |= {'GLIBC_TUNABLES': asked} if asked else {}
    line = [sys.executable, '-X', 'utf8', '-c', code, 'train', '--config', 'no such file.py:a b', '--workdir',
            'x']
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout.splitlines()[-1] == given and 'no such file.py' in done.stderr


def test_a_missing_file_among_others_is_named_in_its_turn_and_the_rest_is_read(workdir, capsys):
    sample = workdir / 'samples' / '0.png'
    status, out, err = run(capsys, 'predict', workdir, sample, 'no.png', sample, '--json', *ONE)
    found = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and [line['file'] for line in found] == [str(sample), 'no.png', str(sample)]
    assert found[1]['error'] == 'does not exist' and 'no.png: does not exist\n' in err
    assert err.count('\n') == 2 and '1 of 3 images could not be read' in err


def test_an_empty_folder_among_others_is_said(workdir, capsys, tmp_path):
    status, out, err = run(capsys, 'predict', workdir, tmp_path, workdir / 'samples' / '0.png', *ONE)
    assert status == 1 and out.count('\n') == 1 and f'folder {tmp_path} holds no image' in err


def test_several_texts_need_no_beam(workdir, capsys):
    line = ['predict', workdir, workdir / 'samples' / '0.png', '--nbest', 3, *ONE]
    status, out, _ = run(capsys, *line)
    sure = [float(line.split('\t')[2]) for line in out.splitlines()]
    assert status == 0 and len(sure) == 3 and sure == sorted(sure, reverse=True)
    assert run(capsys, *line, '--beam', 2)[0] == 2


def test_recog_alone_prints_its_commands_and_version(capsys):
    status, out, _ = run(capsys)
    assert status == 0 and {command.name for command in COMMANDS} <= set(out.split())
    with pytest.raises(SystemExit) as ended:
        command_line.main(['--version'])
    assert ended.value.code == 0 and re.fullmatch(r'recog \d+\.\d+\.\d+\n', capsys.readouterr().out)
