"""The run: what a step computes, and that meshes, micro-batches and interruptions change nothing."""

import jax
import numpy as np
import pytest
from narrow_models import RECIPES
from runs import leaves, lines, prepared, restored, trained
from small import DEMO, NARROW

from recog.config import experiments, recipe, values
from recog.data.batches import Batches
from recog.data.sets import open_set
from recog.devices.mesh import batch_sharding, make_mesh, one_device
from recog.errors import ConfigError
from recog.evaluation import measure
from recog.reading.compiled import decoder
from recog.train import optimizer, processes
from recog.train.loop import Trainer, train_to_end
from recog.train.progress import NonFinite
from recog.train.step import make_state, make_step
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.opened import open_workdir

CONSTANT = ('schedule.name=constant', 'schedule.warmup=0 steps')
# Without clipping, which hides gradients that are too large; tests/train/test_step.py clips on every mesh.
PLAIN = (*CONSTANT, 'optimizer.rate=1e-4', 'optimizer.name=momentum', 'data.order=shuffle',
         'optimizer.clip_norm=0.0', 'optimizer.clip_tensor=0.0')


def test_an_interrupted_run_ends_bit_for_bit_as_the_uninterrupted_one(narrow, tmp_path):
    config = narrow(*CONSTANT, 'train.ema=0.9', 'image.augment.noise=20.0', 'image.augment.rotation=5.0',
                    'data.order=shuffle')
    whole = trained(config, tmp_path / 'whole')
    parts = trained(config, tmp_path / 'parts', stop=2)
    trained(config, parts)
    for one, other in zip(leaves(whole, 4), leaves(parts, 4), strict=True):
        np.testing.assert_array_equal(one, other)
    assert lines(whole) == lines(parts)


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    """A run on one device."""
    config = experiments.load(DEMO, [*NARROW, *(f'--config.{override}' for override in PLAIN)])
    return trained(config, tmp_path_factory.mktemp('alone') / 'run')


@pytest.mark.parametrize('mesh', [('mesh.data=8',), ('mesh.data=2', 'mesh.fsdp=4')])
def test_one_device_trains_as_eight_do_and_resumes_where_they_stopped(alone, narrow, tmp_path, mesh):
    together = trained(narrow(*PLAIN, *mesh), tmp_path / 'together', devices=8, stop=2)
    trained(narrow(*PLAIN), together)
    for one, other in zip(lines(alone), lines(together), strict=True):
        assert one['step'] == other['step']
        if 'loss' in one:
            np.testing.assert_allclose(one['loss'], other['loss'], rtol=1e-4)
            np.testing.assert_allclose(one['grad_norm'], other['grad_norm'], rtol=1e-3)
    # Sums in another order are rounded otherwise; then a maximum may be elsewhere: leaves agree as a whole.
    for one, other in zip(leaves(alone, 4), leaves(together, 4), strict=True):
        assert np.linalg.norm(one - other) <= 0.01 * np.linalg.norm(one) + 1e-5


@pytest.mark.parametrize('devices', [1, 8])
def test_accumulation_equals_one_large_batch_with_groups_of_a_micro_batch(narrow, devices):
    mesh = make_mesh(narrow('mesh.data=-1').mesh, jax.devices()[:devices])
    states = []
    for overrides in (('train.accumulate=2',), ('train.norm_group=8',)):
        config = narrow(*overrides, 'optimizer.name=momentum')
        run = prepared(config)
        rate = optimizer.schedule(config, run.total, run.plan.epoch)
        tx = optimizer.optimizer(config, rate)
        state = jax.jit(lambda key, run=run, tx=tx: make_state(run.model, tx, 0.0, key))(jax.random.key(1))
        batch = Batches(run.source, run.plan, np.arange, run.vocab, config, 4)[0]
        del batch['notes'], batch['rows']
        batch['weight'][[0, 3, 9]] = 0
        step = jax.jit(make_step(run.model, tx, rate, config, mesh))
        with mesh:
            states.append(step(state, jax.device_put(batch, batch_sharding(mesh))))
    (parts, part_metrics), (whole, whole_metrics) = states
    for name in ('loss', 'grad_norm', 'rows'):
        np.testing.assert_allclose(part_metrics[name], whole_metrics[name], rtol=1e-4)
    for one, other in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_a_handful_of_words_is_learnt_by_heart(narrow, folder, tmp_path):
    words = ['cat', 'dog', 'bird', 'fish', 'horse', 'mouse', 'sheep', 'goat']
    root = folder('words/train', [(f'{word}.png', word) for word in words])
    config = narrow(*CONSTANT, 'data.train=words:train', 'eval.sets=words:train', 'train.batch=8',
                    'train.length=120 steps', 'eval.every=0 steps', 'checkpoint.every=0 steps',
                    'optimizer.rate=0.005', 'model.lstm_hidden=32', 'log.every=120', 'optimizer.decay=0.0')
    workdir = trained(config, tmp_path / 'run', root=root)
    opened, mesh = open_workdir(workdir), one_device()
    source, decode = open_set('words:train', config, root), decoder(opened.model, mesh)
    result = measure.measure_set(decode, opened.variables, source, opened.vocab, config, mesh)
    assert [prediction.text for prediction in result.predictions] == words
    assert all(prediction.confidence > 0.5 for prediction in result.predictions)


def test_a_loss_that_is_no_number_stops_the_run_with_step_rows_and_the_last_checkpoint(narrow, tmp_path):
    run = prepared(narrow('optimizer.clip_norm=0.0', 'eval.every=0 steps'))

    def poisoned(*args, **named):
        (total, count), aux = run.model.loss(*args, **named)
        return (jax.numpy.where(named['step'] == 2, np.nan, total), count), aux

    said = r'step 3: loss nan.*rows 32, 33.*train-0.*last good checkpoint: step 2'
    with pytest.raises(NonFinite, match=said):
        train_to_end(run._replace(model=run.model._replace(loss=poisoned)), tmp_path / 'run')
    saved = Checkpoints(tmp_path / 'run', writing=False)
    assert saved.latest() == 2
    saved.close()


def test_evaluation_has_the_precision_that_is_asked_for(narrow, tmp_path):
    config = narrow('train.precision=bfloat16', 'eval.precision=float32', 'train.length=1 steps')
    trainer = Trainer(prepared(config), tmp_path / 'trainer', processes.Stop())
    variables = {'params': trainer.state.params, 'stats': trainer.state.stats}
    batch = {'image': np.zeros((1, 32, 48, 3), np.uint8), 'size': np.full((1, 2), 32, np.int32),
             'weight': np.ones(1, np.float32), 'index': np.zeros(1, np.int32)}
    halves = ['bf16' in trainer.decode.lower(variables, batch, np.int32(5)).as_text()]
    trainer.close()
    workdir = trained(config, tmp_path / 'run')
    for precision in ('', 'bfloat16', 'highest'):
        decode = decoder(open_workdir(workdir, precision=precision).model, one_device())
        halves.append('bf16' in decode.lower(variables, batch, np.int32(5)).as_text())
    assert halves == [False, False, True, False]


def test_averaged_weights_and_statistics_are_what_evaluation_opens(narrow, tmp_path):
    workdir = trained(narrow(*CONSTANT, 'train.ema=0.5', 'eval.every=4 steps'), tmp_path / 'run')
    variables = restored(workdir, 4, 'variables')
    opened = open_workdir(workdir).variables
    for part in ('params', 'stats'):
        trees = opened[part], variables['ema'][part], variables[part]
        pairs = [[np.asarray(leaf) for leaf in leaves]
                 for leaves in zip(*map(jax.tree.leaves, trees), strict=True)]
        assert all((found == averaged).all() for found, averaged, _ in pairs)
        assert any((found != last).any() for found, _, last in pairs)


@pytest.mark.parametrize(('keep', 'saved'), [(1, [1, 2, 4]), (2, [1, 2, 3, 4]), (0, [4])])
def test_evaluations_between_checkpoints_are_saved_if_they_are_better(narrow, tmp_path, monkeypatch, keep,
                                                                      saved):
    accuracies, steps = {1: 0.1, 2: 0.5, 3: 0.3, 4: 0.5}, []
    save = Checkpoints.save
    monkeypatch.setattr(Trainer, '_evaluate', lambda self, position: {'accuracy': accuracies[position]})
    monkeypatch.setattr(Checkpoints, 'save', lambda self, step, *rest: (steps.append(step),
                                                                        save(self, step, *rest)))
    trained(narrow(*CONSTANT, 'eval.every=1 steps', 'checkpoint.every=0 steps', f'checkpoint.keep={keep}'),
            tmp_path / 'run')
    assert steps == saved


def test_the_best_that_is_kept_is_known_when_a_run_goes_on(narrow, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, '_evaluate', lambda self, position: {'accuracy': 0.5 - position / 10})
    workdir = trained(narrow(*CONSTANT, 'checkpoint.every=4 steps'), tmp_path / 'run', stop=2)
    saved = Checkpoints(workdir, 1)
    assert [saved.is_best({'accuracy': accuracy}) for accuracy in (0.2, 0.3, 0.4)] == [False, False, True]
    saved.close()


def test_batches_in_buckets_are_made_of_whole_groups_of_batch_norm(folder):
    root = folder('some/train', [(f'{number}.png', 'x') for number in range(7)])
    changes = {'image.width': 64, 'data.buckets': ('32x48',), 'data.pixels': 5 * 32 * 48, 'train.batch': 24,
               'data.train': ('some:train',), 'eval.sets': ('some:train',)}
    for group, rows in ((0, [5, 3]), (2, [4, 2])):
        config = recipe.changed(RECIPES['can'].copy_and_resolve_references(),
                                changes | {'train.norm_group': group})
        assert [shape.rows for shape in prepared(config, root=root).plan.shapes] == rows


def test_seeds_change_one_stream_alone(narrow):
    def first(config):
        run = prepared(config)
        weights = jax.tree.leaves(run.model.init(jax.random.key(values.seed(config, 'init'))))
        return [np.asarray(leaf).sum() for leaf in weights], run.plan.rows(0)[0].tolist()

    base, data_changed, init_changed = (first(narrow('data.order=shuffle', *seeds)) for seeds in
                                        ((), ('seeds.data=5',), ('seeds.init=5',)))
    assert base[0] == data_changed[0] and base[1] != data_changed[1]
    assert base[0] != init_changed[0] and base[1] == init_changed[1]


def test_dropped_labels_are_counted_listed_and_survive_a_resume(narrow, folder, tmp_path):
    labels = [('a.png', 'one'), ('b.png', '???'), ('c.png', "can't"), ('d.png', 'x' * 40)]
    root = folder('words/train', labels, ('a.png',))
    folder('words/validation', [('a.png', 'one')])
    config = narrow(*CONSTANT, 'data.train=words:train', 'eval.sets=words:validation', 'train.batch=4')
    workdir = trained(config, tmp_path / 'run', root=root, stop=2)
    trained(config, workdir, root=root)
    rejected, changed = ((workdir / name).read_text().splitlines()
                         for name in ('rejected.tsv', 'changed.tsv'))
    assert {tuple(row.split('\t')[:3]) for row in rejected[1:]} == {
        ('0', 'is not an image', 'a.png'), ('1', 'empty', 'b.png'), ('3', 'too long', 'd.png')}
    assert [tuple(row.split('\t')[:3]) for row in changed[1:]] == [('2', 'changed', 'c.png')]
    saved = Checkpoints(workdir, writing=False)
    assert saved.run(4)['rows'] == {'read': 16, 'is not an image': 4, 'empty': 4, 'changed': 4, 'too long': 4}
    saved.close()


@pytest.mark.parametrize('override, message', [
    ('mesh.data=3', 'does not fit the 8 cpu devices'),
    ('train.batch=12', 'must be a multiple of the 8 devices'),
    ('mesh.fsdp=-1', 'must be above 0, or -1 on one axis'), ('train.length=0 steps', 'less than one step'),
])
def test_what_does_not_fit_the_devices_is_refused_before_anything_is_compiled(narrow, override, message):
    with pytest.raises(ConfigError, match=message):
        prepared(narrow(override), devices=8)
