"""Published weights, in all formats in which they are published, imported by the command."""

import io
import json
import pickle
import tarfile

import jax
import numpy as np
import pytest
from golden import GOLDENS, fill, golden, turned_back
from pytorch_files import Tensor, in_a_row, zipped
from small import ROOT

from recog import models
from recog.commands import command_line
from recog.errors import ConfigError
from recog.models import can
from recog.models.peers import from_peer
from recog.weights.files import read_weights
from recog.workdir import imported
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.opened import open_workdir

MV3 = 'rec_mv3_none_bilstm_ctc'
RECIPES = {
    'rec_r34_vd_none_bilstm_ctc': 'crnn.py:r34', MV3: 'crnn.py:mv3',
    'rec_r34_vd_tps_bilstm_att': 'rare.py:r34', 'rec_mv3_tps_bilstm_att': 'rare.py:mv3',
    'rec_r50_fpn_srn': 'srn.py:r50', 'rec_d28_can': 'can.py:d28',
    'latex_ocr_resnet34_transformer': 'latex_ocr.py:r34', 'svtrv2_t': 'svtrv2.py:t',
    'comer': 'comer.py:crohme', 'tamer': 'tamer.py:crohme',
}
TABLE = {'StructuredToParameterName@@': {'a.weight': 'linear_0.w_0'}}


def run(capsys, *arguments):
    status = command_line.main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    assert 'Traceback' not in out.err
    return status, out.out, out.err


def shapes(name):
    """The arrays of a checkpoint, all zero; they take no memory."""
    rows = json.loads((GOLDENS / f'{name}.keys.json').read_text())
    return {row['key']: np.broadcast_to(np.float32(0), row['shape']) for row in rows}


def paddle(path, state, protocol=4):
    path.write_bytes(pickle.dumps({**state, **TABLE}, protocol=protocol))
    return path


def tarred(path, state, names=('rec_mv3_train/best_accuracy.pdparams', 'rec_mv3_train/latest.pdparams')):
    """A tar as PaddleOCR publishes it. The first of `names` holds the state, the others some other array."""
    with tarfile.open(path, 'w') as archive:
        for name in (*names, 'rec_mv3_train/best_accuracy.pdopt'):
            content = pickle.dumps(state if (name,) == names[:1] else {'a': np.zeros(3)}, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope='module')
def state():
    return golden(MV3)[2]


def test_paddles_weights_become_a_workdir_with_their_recipe_and_vocabulary(state, tmp_path, capsys):
    file = paddle(tmp_path / 'best_accuracy.pdparams', state)
    status, out, err = run(capsys, 'import', file, '--workdir', tmp_path / 'run')
    assert (status, err) == (0, '') and 'crnn.py:mv3, 1,451,787 trainable parameters' in out
    opened = open_workdir(tmp_path / 'run')
    assert len(opened.vocab) == 36 and opened.imported.startswith('best_accuracy.pdparams (sha256 ')
    want = models.flatten(from_peer(opened.model, state))
    got = models.flatten(jax.device_get(opened.variables))
    assert got.keys() == want.keys() and all(np.array_equal(got[path], want[path]) for path in want)
    said = 'holds imported weights, which cannot be trained on; begin with them .*--config.init='
    with pytest.raises(ConfigError, match=said):
        Checkpoints(tmp_path / 'run').restore(0, 'optimizer', {})


@pytest.mark.parametrize('write', [
    lambda path, state: paddle(path / 'a.pdparams', state, 2),
    lambda path, state: tarred(path / 'a_train.tar', state),
    lambda path, state: tarred(path / 'a_train.tar', state, ('any.pdparams',))],
    ids=['protocol 2', 'tar of two', 'tar of one'])
def test_paddles_weights_are_read_in_every_form_they_come_in(write, state, tmp_path):
    got = read_weights(write(tmp_path, state))
    assert got.keys() == state.keys() and all(np.array_equal(got[key], state[key]) for key in state)


def test_a_tar_that_does_not_say_which_weights_are_meant_is_refused(state, tmp_path):
    for names in (('a.pdparams', 'b.pdparams'), ()):
        said = rf'it holds {len(names)} files \*.pdparams and 0 called best_accuracy.pdparams'
        with pytest.raises(ValueError, match=said):
            read_weights(tarred(tmp_path / 'a.tar', {}, names))


@pytest.mark.parametrize('name', RECIPES)
def test_the_recipe_is_recognised_by_the_names(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert imported.recognise(shapes(name), 'a.pdparams', []).recipe == f'experiments/{RECIPES[name]}'


def test_of_recipes_with_the_same_names_the_shapes_decide(monkeypatch):
    monkeypatch.chdir(ROOT)
    model = imported._built('experiments/svtrv2.py:s', ()).model
    leaves = models.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    state = {key: turned_back(np.broadcast_to(np.float32(0), leaves[peer.path].shape), peer.turn)
             for key, peer in model.peers.items()}
    assert imported.recognise(state, 'best.pth', []).recipe == 'experiments/svtrv2.py:s'


def test_weights_before_any_training_are_named(state, tmp_path, capsys):
    untrained = {'_mean': np.zeros_like, '_variance': np.ones_like}
    fresh = {key: next((value(array) for end, value in untrained.items() if key.endswith(end)), array)
             for key, array in state.items()}
    for number, (given, said) in enumerate(((state, False), (fresh, True))):
        file = paddle(tmp_path / f'{number}.pdparams', given)
        status, _, err = run(capsys, 'import', file, '--workdir', tmp_path / f'{number}',
                             '--config', f'{ROOT}/experiments/crnn.py:mv3')
        assert status == 0
        assert ('every running mean is 0 and every variance 1, as before training' in err) == said


def test_names_of_no_recipe_are_refused(tmp_path, capsys):
    file = paddle(tmp_path / 'a.pdparams', {'conv.weight': np.zeros(3, np.float32)})
    status, _, err = run(capsys, 'import', file, '--workdir', tmp_path / 'run')
    assert status == 2 and '(conv.weight, ...) are those of none of' in err and 'srn.py:r50' in err
    assert not (tmp_path / 'run').exists()


def test_missing_surplus_and_misshapen_arrays_are_listed_and_nothing_is_written(state, tmp_path, capsys):
    changed = {key: array for key, array in state.items() if key != 'head.fc.bias'}
    changed |= {'head.extra': np.zeros(2), 'head.fc.weight': np.zeros((96, 5), np.float32)}
    arguments = ('import', paddle(tmp_path / 'a.pdparams', changed), '--workdir', tmp_path / 'run',
                 '--config', f'{ROOT}/experiments/crnn.py:mv3')
    for more, said in (((), 'mv3: missing head.fc.bias; surplus head.extra; misshapen'),
                       (('--partial',), 'mv3: misshapen')):
        status, _, err = run(capsys, *arguments, *more)
        assert status == 2 and f'{said} head.fc.weight (96, 5)\n' in err
        assert not (tmp_path / 'run').exists()
    file = paddle(tmp_path / 'b.pdparams', state)
    status, _, err = run(capsys, 'import', file, '--workdir', tmp_path / 'run',
                         '--config', f'{ROOT}/experiments/crnn.py:r34')
    assert status == 2 and 'missing' in err and 'surplus' in err and 'and ' in err
    assert not (tmp_path / 'run').exists()


def test_torchvisions_backbone_is_taken_for_latex_ocrs_and_what_it_lacks_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    parts = {'0': 'conv1', '1': 'bn1', '4': 'layer1', '5': 'layer2'}
    front = {key.removeprefix('encoder.backbone.'): array
             for key, array in shapes('latex_ocr_resnet34_transformer').items()
             if key.startswith('encoder.backbone.')}
    theirs = {f'{parts[key[0]]}{key[1:]}': Tensor(np.ascontiguousarray(array))
              for key, array in front.items()}
    theirs |= {'fc.weight': Tensor(np.zeros((10, 5), np.float32)),
               'bn1.num_batches_tracked': Tensor(np.zeros((), np.int64))}
    file = zipped(tmp_path / 'resnet34.pth', theirs)
    status, _, err = run(capsys, 'import', file, '--workdir', tmp_path / 'run')
    assert status == 2 and 'latex_ocr.py:r34: missing ' in err and 'surplus fc.weight (--partial lets' in err


def test_part_of_a_model_is_taken_if_that_is_asked_for_and_the_rest_starts_afresh(state, tmp_path, capsys):
    front = {key: array for key, array in state.items() if key.startswith('backbone.')}
    file = paddle(tmp_path / 'a.pdparams', front | {'fc.weight': np.zeros((10, 5))})
    status, out, _ = run(capsys, 'import', file, '--workdir', tmp_path / 'run', '--partial',
                         '--config', f'{ROOT}/experiments/crnn.py:mv3')
    assert status == 0 and 'starts afresh: head.fc.bias\n' in out and 'left out: fc.weight\n' in out
    opened = open_workdir(tmp_path / 'run')
    want = models.flatten(from_peer(opened.model, state))
    got = models.flatten(jax.device_get(opened.variables))
    same = {path: np.array_equal(want[path], got[path]) for path in want}
    assert all(same[path] == (path[1] == 'backbone') for path in same)


def test_the_authors_own_checkpoint_of_can_says_the_same_as_paddleocrs(tmp_path):
    paddles = {row['key']: fill(row['seed_key'], row['shape']) for row in golden('rec_d28_can')[1]
               if not row['key'].startswith('backbone.dense') or '.3.' in row['key']}
    theirs = {}
    for key, array in paddles.items():
        part = next(ours for ours, name in can.PARTS.items() if key.startswith(f'{name}.'))
        rest = key.removeprefix(f'{can.PARTS[part]}.')
        rest = rest.replace('_mean', 'running_mean').replace('_variance', 'running_var')
        if part == 'encoder' and rest.startswith('dense') and rest.endswith('.bias') and '.conv' in rest:
            continue
        turned = array.ndim == 2 and 'gru' not in rest and 'embedding.weight' not in rest
        theirs[f'module.{part}.{rest}'] = Tensor(np.ascontiguousarray(array.T if turned else array).ravel(),
                                                 array.T.shape if turned else array.shape)
    for name, write in (('zip.pth', zipped), ('row.pth', in_a_row)):
        got = can.adapt(read_weights(write(tmp_path / name, {'model': theirs, 'optimizer': {'state': 3}})))
        assert got.keys() == paddles.keys()
        for key, want in paddles.items():
            biased = key.startswith('backbone.dense') and '.conv' in key and key.endswith('.bias')
            np.testing.assert_array_equal(got[key], np.zeros_like(want) if biased else want, err_msg=key)


def test_latex_ocrs_own_checkpoint_holds_things_that_no_model_needs(monkeypatch):
    monkeypatch.chdir(ROOT)
    arrays = shapes('latex_ocr_resnet34_transformer') | {'encoder.pe.pe': np.zeros((1, 384, 16, 64))}
    found = imported.recognise(arrays, 'a', [])
    assert found.model.adapt({'encoder.pe.pe': 1, 'decoder.x': 2}) == {'decoder.x': 2}


def test_a_pickle_that_would_run_something_is_refused_by_name_and_nothing_is_written(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return __import__('os').mkdir, (str(tmp_path / 'trace'),)

    (tmp_path / 'a.pdparams').write_bytes(pickle.dumps({'a': Evil()}))
    archive = tarred(tmp_path / 'a.tar', {'a': Evil()}, ('best_accuracy.pdparams',))
    for file in (tmp_path / 'a.pdparams', archive):
        status, _, err = run(capsys, 'import', file, '--workdir', tmp_path / 'run')
        assert status == 2 and 'it wants posix.mkdir, which no array needs' in err and err.count('\n') == 1
    assert not (tmp_path / 'trace').exists() and not (tmp_path / 'run').exists()


def test_a_folder_that_holds_other_things_is_refused(state, tmp_path, capsys):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'thesis.tex').touch()
    file = paddle(tmp_path / 'a.pdparams', state)
    status, _, err = run(capsys, 'import', file, '--workdir', tmp_path / 'run')
    assert status == 2 and 'holds other things' in err
