"""Exported folders: they read as their workdirs do, through the same commands, without JAX,
and damaged files are refused."""

import json
import re
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from narrow_models import make_workdir, slowly
from small import ROOT

import recog
from recog import models
from recog.commands import command_line
from recog.errors import ConfigError
from recog.export import parity
from recog.reading import engines
from recog.text.vocabulary import Vocab

ONE = ('--devices', '0')
BEAMS = {'crnn': 3, 'can': 2, 'comer': 3, 'latex_ocr': 1, 'parseq': 3, 'rare': 2, 'srn': 1, 'svtrv2': 1,
         'tamer': 2}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """exported(name, form): a workdir and its export, made once."""
    root, made = tmp_path_factory.mktemp('exports'), {}

    def get(name, form='onnx'):
        workdir, folder = root / name, root / f'{name}-{form}'
        if name not in made:
            made[name] = make_workdir(workdir, name)
        if (name, form) not in made:
            assert command_line.main(['export', str(workdir), str(folder), '--format', form, '--beam',
                                      str(BEAMS[name])]) == 0
            made[name, form] = folder
        return SimpleNamespace(workdir=workdir, folder=folder, samples=workdir / 'samples', beam=BEAMS[name])
    return get


def run(capsys, *arguments):
    capsys.readouterr()
    status = command_line.main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    assert 'Traceback' not in out.err
    return status, out.out, out.err


def alike(one, other):
    """Whether JSON lines of predict are the same but for the last digit of a confidence."""
    def numbers(line):
        return [line.pop(key) for key in ('confidence', 'score', 'mean_token') if key in line]

    for first, second in zip(map(json.loads, one.splitlines()), map(json.loads, other.splitlines()),
                             strict=True):
        for a, b in zip([first, *first.pop('nbest', [])], [second, *second.pop('nbest', [])], strict=True):
            np.testing.assert_allclose(numbers(a), numbers(b), atol=2e-4, rtol=1e-4)
            assert a == b
    return True


# TAMER searches as CoMER does.
@pytest.mark.parametrize('name', slowly(models.names(), {'tamer'}))
def test_an_onnx_folder_reads_as_its_workdir_does(exported, capsys, name):
    made = exported(name)
    lines = {}
    for path in (made.workdir, made.folder):
        status, lines[path], err = run(capsys, 'predict', path, made.samples, '--json', '--batch', 2,
                                       '--nbest', made.beam,
                                       *(['--beam', made.beam, *ONE] if path == made.workdir else []))
        assert status == 0 and err == ''
    assert len(lines[made.folder].splitlines()) == 4 and alike(*lines.values())
    assert len({json.loads(line)['text'] for line in lines[made.folder].splitlines()}) > 1


@pytest.mark.parametrize('name', ['crnn', 'can'])
def test_a_stablehlo_folder_reads_as_its_workdir_does(exported, capsys, name):
    made = exported(name, 'stablehlo')
    how = [made.samples, '--json', '--nbest', 2, '--max-length', 4]
    assert alike(run(capsys, 'predict', made.workdir, *how, '--beam', made.beam, *ONE)[1],
                 run(capsys, 'predict', made.folder, *how)[1])
    manifest = json.loads((made.folder / 'manifest.json').read_text())
    assert manifest['versions']['platforms'] == ['cpu', 'cuda', 'tpu']


@pytest.mark.parametrize('name', ['can', 'rare'])
def test_an_onnx_folder_explains_and_shortens_as_its_workdir_does(exported, capsys, tmp_path, name):
    made = exported(name)
    for path in (made.workdir, made.folder):
        out = tmp_path / path.name
        beam = ['--beam', made.beam, *ONE] if path == made.workdir else []
        status, said, err = run(capsys, 'predict', path, made.samples, '--explain', '--out', out,
                                '--max-length', 2, *beam)
        assert status == 0 and f'4 pictures in {out}' in err
        texts = [line.split('\t')[1].replace(' ', '') for line in said.splitlines()]
        assert max(map(len, texts)) == 2 or name == 'can'
    one, other = (cv2.imread(str(tmp_path / path.name / '0.png')) for path in (made.workdir, made.folder))
    assert one.shape == other.shape and abs(one.astype(int) - other).mean() < 1


def test_the_manifest_says_all_that_a_program_needs(exported):
    made = exported('can')
    manifest = json.loads((made.folder / 'manifest.json').read_text())
    assert {name: manifest[name] for name in ('format', 'model', 'beam', 'max_length', 'capacity', 'protocol',
                                              'step')} == {
        'format': 'onnx', 'model': 'can', 'beam': 2, 'max_length': 12, 'capacity': 25, 'protocol': 'latex',
        'step': 7}
    assert manifest['buckets'] == [[16, 32], [32, 48]] and manifest['source'] == str(made.workdir)
    assert manifest['image'] == {'height': 32, 'width': 48, 'channels': 'grey', 'fit': 'none', 'ink': 'light',
                                 'symbol': 0.0, 'width_rule': 'fixed',
                                 'resample': 'bilinear'}
    assert manifest['vocabulary']['tokens'][:2] == ['x', '^'] and manifest['vocabulary']['separator'] == ' '
    assert manifest['inputs']['image'] == {'shape': ['b', '16*h', '16*w', 1], 'type': 'uint8'}
    assert manifest['outputs']['tokens'] == {'shape': ['b', 2, 25], 'type': 'int32'}
    assert set(manifest['files']) == {'model.onnx', 'explain.onnx'}
    assert manifest['parity']['images'] == 20 and manifest['parity']['worst_score_difference'] <= 1e-4


def test_weights_are_in_one_file(exported):
    folder = exported('crnn').folder
    assert (folder / 'explain.onnx').stat().st_size < (folder / 'model.onnx').stat().st_size / 2


def child(code, *arguments):
    done = subprocess.run([sys.executable, '-c', code, *map(str, arguments)], capture_output=True, text=True,
                          cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SAY = "print([name for name in ('jax', 'flax', 'grain', 'orbax', 'optax', 'onnx') if name in sys.modules])"


def test_reading_by_onnxruntime_imports_neither_jax_nor_flax(exported):
    made = exported('can')
    code = f'import sys; from recog.commands.command_line import main\nprint(main(sys.argv[1:]))\n{SAY}'
    said = child(code, 'predict', made.folder, made.samples, '--explain', '--out', made.workdir / 'pictures')
    assert said[-2:] == ['0', '[]']
    said = child(f'import recog, sys; print(len(recog.load(sys.argv[1])([sys.argv[2]] * 3)))\n{SAY}',
                 made.folder, made.samples / '0.png')
    assert said == ['3', '[]']


def test_reading_stablehlo_imports_jax_alone(exported):
    made = exported('crnn', 'stablehlo')
    file = made.samples / '0.png'
    said = child(f'import recog, sys; print(recog.load(sys.argv[1])(sys.argv[2]).text)\n{SAY}', made.folder,
                 file)
    assert said == [recog.load(made.workdir, beam=made.beam, devices='0')(file).text, "['jax']"]


@pytest.mark.parametrize(('form', 'flags', 'words'), [
    ('onnx', ['--beam', '5'], '--beam 5: FOLDER was exported with --beam 3; export it again with --beam 5'),
    ('onnx', ['--step', '3'], '--step 3: FOLDER was exported with --step 7; export it again with --step 3'),
    ('onnx', ['--width-rule', 'widest'],
     '--width-rule widest: FOLDER was exported with --width-rule fixed; use the workdir'),
    ('onnx', ['--nbest', '4'], '--nbest 4 needs --beam 4 or more'),
    ('onnx', ['--max-length', '13'], '--max-length 13: this model can write 12 tokens at most'),
    ('onnx', ['--devices', '0'],
     '--devices 0: FOLDER is an export to ONNX, which runs on CPUs; leave it out'),
    ('stablehlo', ['--devices', '0,1'], '--devices 0,1: FOLDER runs on one device; name one of them'),
])
def test_what_an_export_cannot_do_is_refused_in_one_line(exported, capsys, form, flags, words):
    made = exported('crnn', form)
    status, _, err = run(capsys, 'predict', made.folder, made.samples, *flags)
    assert (status, err) == (2, f'recog predict: {words}\n'.replace('FOLDER', str(made.folder)))


def test_a_damaged_file_is_named(exported, tmp_path):
    folder = tmp_path / 'export'

    def damaged(file, change):
        subprocess.run(['cp', '-rT', str(exported('crnn').folder), str(folder)], check=True)
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(change(content))
        with pytest.raises(ConfigError) as refused:
            recog.load(folder)
        return str(refused.value)

    flipped = damaged('model.onnx', lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:])
    assert flipped == (f'{folder}/model.onnx is damaged: it is not what recog export wrote; '
                       'export the model again')
    assert f'{folder}/explain.onnx is damaged' in damaged('explain.onnx', lambda content: content[:-1])
    for change in (lambda content: content.replace(b'"0"', b'"9"'), lambda content: content[:99],
                   lambda content: b'[]'):
        assert f'{folder}/manifest.json is damaged' in damaged('manifest.json', change)
    subprocess.run(['cp', '-rT', str(exported('crnn').folder), str(folder)], check=True)
    (folder / 'explain.onnx').unlink()
    with pytest.raises(ConfigError, match='explain.onnx is missing'):
        recog.load(folder)


@pytest.mark.parametrize(('arguments', 'words'), [
    (['RUN', 'FULL'], 'is there already and not empty; choose another'),
    (['RUN', 'new', '--max-length', '99'], '--max-length 99: this model can write 12 tokens at most'),
    (['RUN', 'new', '--step', '3'], '--step 3: '),
    (['FULL', 'new'], 'is not a workdir of recog'),
    (['RUN', 'gs://bucket/new'], 'must be on this machine'),
])
def test_what_cannot_be_exported_is_refused_in_one_line(exported, capsys, tmp_path, monkeypatch, arguments,
                                                        words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'letter.txt').write_text('keep me')
    names = {'RUN': str(exported('crnn').workdir), 'FULL': str(tmp_path / 'full')}
    status, _, err = run(capsys, 'export', *(names[name] if name in names else name for name in arguments))
    assert status == 2 and words in err and err.count('\n') == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != 'cache'] == ['full']


def test_an_export_that_reads_otherwise_names_the_worst_case_and_leaves_nothing(exported, capsys, tmp_path,
                                                                                monkeypatch):
    workdir = exported('crnn').workdir
    monkeypatch.setattr(parity, 'TOLERANCE', 1e-9)
    status, _, err = run(capsys, 'export', workdir, tmp_path / 'new')
    assert status == 2 and 'by the workdir' in err and 'nothing was written' in err and err.count('\n') == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != 'cache'] == []


def test_another_text_is_worse_than_any_score_and_a_larger_difference_worse_than_a_smaller_one():
    vocab = Vocab(('a', 'b'))
    right = {'tokens': np.array([[0, -1]]), 'score': np.array([-3.0]), 'mean_token': np.array([0.5])}
    assert parity.difference(right, right, vocab) == (0.0, parity.Wrong(0.0, ''))
    near = parity.difference(right, {**right, 'score': np.array([-3.0001])}, vocab)
    assert 1e-5 < near[0] < 1e-4 and not near[1].size
    both = parity.difference(right, {**right, 'score': np.array([-3.1]), 'mean_token': np.array([0.2])},
                             vocab)
    assert both[1].words == 'has mean_token 0.2, by the workdir 0.5'
    other = parity.difference(right, {**right, 'tokens': np.array([[1, -1]]), 'score': np.array([np.nan])},
                              vocab)
    assert other[1].words == "is read as 'b', by the workdir as 'a'"


def test_a_bfloat16_recipe_is_exported_with_float32_arithmetic(tmp_path, capsys):
    workdir = make_workdir(tmp_path / 'run', 'crnn', precision='bfloat16')
    assert run(capsys, 'export', workdir, tmp_path / 'out', '--max-length', 5)[0] == 0
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    assert manifest['config']['train']['precision'] == 'float32' and manifest['max_length'] == 5


def test_a_recognizer_of_an_export_says_what_it_is(exported):
    made = exported('can')
    assert recog.load(made.folder).about == {'path': str(made.folder), 'form': 'onnx', 'model': 'can',
                                             'formula': True, 'beam': 2,
                                             'max_length': 12, 'protocol': 'latex', 'ink': 'light',
                                             'shape': (32, 48), 'tokens': ('x', '^', '{', '}', '1', '+'),
                                             'trained_on': ['rendered:train']}
    readings = recog.load(made.folder, explain=True, best=2).readings([made.samples / '0.png', b'no image'])
    assert readings[0].details['attention'].shape[1:] in ((2, 3), (1, 2))
    assert len(readings[0].others) == 2 and readings[1].text is None
    assert readings[1].reason == 'is not an image'


def test_what_needs_a_workdir_refuses_an_export(exported, capsys):
    folder = exported('crnn').folder
    for line in (['evaluate', folder], ['report', folder], ['export', folder, 'new']):
        status, _, err = run(capsys, *line)
        assert status == 2 and f"workdir '{folder}' is an exported model; its workdir is needed" in err


@pytest.mark.parametrize('kind', ['workdir', 'folder'])
def test_the_example_for_python_runs_as_it_stands(exported, tmp_path, monkeypatch, capsys, kind):
    made = exported('crnn')
    example = textwrap.dedent(recog.__doc__.partition('\n\n')[2])
    assert textwrap.indent(example.strip(), '    ') in (ROOT / 'README.md').read_text()
    (tmp_path / 'words').symlink_to(getattr(made, kind))  # a path goes before the reader of its name
    for number, name in enumerate(('word', 'one', 'two')):
        (tmp_path / f'{name}.png').write_bytes((made.samples / f'{number}.png').read_bytes())
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()  # what exporting said
    said: dict = {}
    exec(example, said)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and said['text'] == said['recognizer']('word.png').text
    assert 0 <= said['confidence'] <= 1


def test_bench_prints_every_form_beside_the_workdir(exported, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, 'installed', lambda: ['onnxruntime'])
    folders = [exported('crnn', form).folder for form in ('onnx', 'stablehlo')]
    status, out, _ = run(capsys, 'bench', *folders, '--seconds', '0.01', '--batch', 4, '--json',
                         tmp_path / 'speed.json')
    *lines, one, other = out.splitlines()
    assert status == 0
    assert [line.split()[0] for line in lines] == ['form', 'workdir', 'onnx', 'stablehlo', 'convolutions']
    assert re.fullmatch(rf'{folders[0]}: onnx takes as a multiple of workdir \S+ / \S+; convolutions \S+ / '
                        r'\S+', one)
    assert re.fullmatch(rf'{folders[1]}: stablehlo takes as a multiple of workdir \S+ / \S+', other)
    figures = json.loads((tmp_path / 'speed.json').read_text())
    assert all(each['images_per_second_1'] > 0 and each['images_per_second_4'] > 0 for each in figures)


def test_bench_says_where_the_workdir_is_gone(capsys, tmp_path):
    workdir = make_workdir(tmp_path / 'run', 'crnn')
    assert run(capsys, 'export', workdir, tmp_path / 'out')[0] == 0
    workdir.rename(tmp_path / 'moved')
    status, out, _ = run(capsys, 'bench', tmp_path / 'out', '--seconds', '0.01')
    assert status == 0 and f'{workdir} (step 7 is not there any more, not measured)' in out
    status, _, err = run(capsys, 'bench', tmp_path / 'moved')
    assert status == 2 and 'is no export (no manifest.json)' in err
