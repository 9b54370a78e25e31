"""Packed sets on the devices: the same batches and results as when they are read, several steps at a call."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import trained
from small import DEMO, NARROW, prepared

from recog.commands import command_line
from recog.config import experiments, recipe
from recog.data.joined import joined
from recog.data.sets import open_set
from recog.devices.mesh import make_mesh, one_device, replicated
from recog.errors import ConfigError
from recog.train import resident
from recog.train.several import Several

FLAGS = (*NARROW, '--config.train.length=6 steps', '--config.eval.every=0 steps',
         '--config.checkpoint.every=4 steps', '--config.eval.sets=words', '--config.eval.report=words',
         '--config.data.train=packed')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Twenty-seven words, packed; one label changes, one cannot be used."""
    labels = [(f'{number}.png', f'word{number}') for number in range(25)]
    place = tmp_path_factory.mktemp('resident')
    data = prepared(place, 'words', [('x.png', 'w-x'), ('y.png', '!!'), *labels])
    assert command_line.main(['pack', 'words', '--config', DEMO, '--config.image.width=48',
                              '--data', str(data), '--name', 'packed', '--workers', '1']) == 0
    return data


HELD = '--config.data.resident=True'


@functools.cache
def train(root, *flags, devices=1):
    """What a run logs and where, one run for all tests of the same flags and devices."""
    workdir = root.parent / '-'.join(['run', *(flag.rpartition('.')[2] for flag in flags), str(devices)])
    return follow(root, workdir, *flags, devices=devices), workdir


def follow(root, workdir, *flags, devices=1):
    """Train, or go on where the run stands."""
    trained(experiments.load(DEMO, [*FLAGS, *flags]), workdir, devices=devices, root=root)
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [line for line in lines if 'loss' in line]


@pytest.mark.parametrize('devices', [1, 4])
def test_training_on_what_the_devices_hold_is_training_on_what_is_read(root, devices):
    runs = [train(root, *flags, devices=devices) for flags in ((HELD,), ())]
    (held, _), (read, _) = runs
    assert [line['step'] for line in held] == [line['step'] for line in read] == [1, 2, 3, 4, 5, 6]
    for name in ('loss', 'grad_norm', 'rate', 'rows'):
        np.testing.assert_allclose([line[name] for line in held], [line[name] for line in read], rtol=1e-3,
                                   err_msg=name)
    assert all(line['data_wait'] == 0 for line in held)
    for name in ('rejected.tsv', 'changed.tsv'):
        said = [(workdir / name).read_text() for _, workdir in runs]
        assert said[0] == said[1] and said[0].count('\n') == 2


def test_a_run_that_was_stopped_ends_as_the_one_that_was_not(root):
    whole, workdir = train(root, HELD)
    copy = shutil.copytree(workdir, root.parent / 'copy')
    shutil.rmtree(copy / 'checkpoints' / '6')  # as a kill after step 4 leaves it
    assert [line['loss'] for line in follow(root, copy, HELD)] == [line['loss'] for line in whole]


@pytest.mark.slow
def test_images_are_changed_on_the_devices_alike_on_any_number_of_them(root):
    flags = (HELD, '--config.image.augment.probability=1.0', '--config.image.augment.rotation=8.0',
             '--config.image.augment.noise=8.0')
    runs = train(root, *flags), train(root, *flags, devices=4), train(root, HELD)
    losses = [[line['loss'] for line in lines] for lines, _ in runs]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert abs(losses[0][0] - losses[2][0]) > 1e-3


def test_each_device_holds_its_share_of_every_row(root):
    config = experiments.load(DEMO, ['--config.image.width=48'])
    source = joined([open_set(name, config, root) for name in ('packed', 'packed')])
    mesh = make_mesh(recipe.base(name='').mesh, jax.devices()[:4])
    store = resident.make_store(source, mesh, config)
    image = store.arrays['image']
    assert image.shape == (56, 32, 48, 3) and image.addressable_shards[0].data.shape[0] == 14
    assert resident.size(source, mesh, config) == sum(array.nbytes for array in store.arrays.values()) // 4
    assert resident.expected(config, len(source), mesh) == resident.size(source, mesh, config)
    rows, epochs = np.random.default_rng(0).integers(0, 54, (2, 8))
    got = jax.jit(store.gather, static_argnums=2)(store.arrays, {'index': rows, 'epoch': epochs}, None)
    want = source.arrays(rows)
    for name in resident.PARTS:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    np.testing.assert_array_equal(got['index'], rows)


def test_steps_in_one_call_are_steps_one_by_one(root):
    mesh = make_mesh(recipe.base(name='').mesh, jax.devices()[:2])
    config = experiments.load(DEMO, ['--config.image.width=48'])
    store = resident.make_store(joined([open_set('packed', config, root)]), mesh, config)
    places = [{'index': rows, 'epoch': rows * 0}
              for rows in np.random.default_rng(0).integers(0, 27, (3, 4)).astype(np.int32)]

    def step(state, arrays, places):
        shares = store.gather(arrays, places, None)['image'].astype(jnp.float32).mean((1, 2, 3))
        return state * 0.9 + shares.sum(), {'loss': shares.mean() + state}

    found = []
    for looped in (True, False):
        several, state = Several(step, mesh, replicated(mesh), looped), jnp.zeros(())
        compiled = several.lower(state, store.arrays, places).compile()
        state, metrics = several.run(compiled, state, store.arrays, places)
        found.append([float(state), *np.asarray(metrics['loss'])[:3].tolist()])
    assert found[0] == pytest.approx(found[1], rel=1e-6) and found[0][0] > 0


@pytest.mark.parametrize(('flags', 'said'), [
    (('--config.data.train=words',), 'words is not packed; pack it first: recog pack'),
    (('--config.image.augment.jpeg=5.0',),
     'devices cannot augment by jpeg; set --config.image.augment.jpeg=0'),
])
def test_what_cannot_be_on_the_devices_is_refused(root, flags, said, capsys):
    workdir = root.parent / 'run'
    status = command_line.main(['train', '--config', DEMO, '--workdir', str(workdir), '--data', str(root),
                                *FLAGS, HELD, *flags])
    assert status == 2 and said in capsys.readouterr().err and not workdir.exists()


def test_sets_that_are_too_large_are_refused_with_both_sizes(root, monkeypatch):
    monkeypatch.setattr(resident, 'memory', lambda mesh: 100_000)
    config = experiments.load(DEMO, ['--config.image.width=48'])
    source = joined([open_set('packed', config, root)])
    with pytest.raises(ConfigError, match=r'packed takes 0.0 GB on each of 1 devices; 60% of the 0.0 GB'):
        resident.check(config, source, one_device())
