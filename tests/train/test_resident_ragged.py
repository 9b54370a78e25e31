"""Packed sets of images of any size on the devices: the batches that the host would make of them."""

import json

import cv2
import jax
import numpy as np
import pytest
from narrow_models import RECIPES
from runs import trained
from small import prepared

from recog.config import recipe
from recog.data import pack
from recog.data.batches import Batches
from recog.data.joined import joined
from recog.data.planning import make_plan
from recog.data.sets import open_set
from recog.devices.mesh import make_mesh, replicated
from recog.text import vocabulary
from recog.train import resident
from recog.train.several import Several

FIELDS = {
    'image.height': 48, 'image.width': 96, 'data.buckets': ('24x48', '32x80'), 'data.train': ('packed',),
    'eval.sets': ('packed',), 'train.length': '2 epochs', 'train.batch': 2, 'eval.batch': 2,
    'data.threads': 0, 'eval.every': '0 steps', 'eval.report': ('packed',), 'checkpoint.every': '0 steps',
    'log.every': 1,
    'schedule.name': 'constant', 'schedule.warmup': '0 steps', 'schedule.boundaries': (),
    'log.to': (),
}
MOVED = {'image.augment.probability': 0.8, 'image.augment.scale': 0.25, 'image.augment.stretch': 0.2,
         'image.augment.rotation': 6.0, 'image.augment.elastic': 2.0, 'image.augment.curve': 0.1,
         'image.augment.perspective': 0.1, 'image.augment.stroke': 1.0, 'image.augment.contrast': 0.3}


def recipes(**more):
    return recipe.changed(RECIPES['can'].copy_and_resolve_references(), {**FIELDS, **more})


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Soft pictures of several sizes, packed; one is not readable, one too large, one label is empty."""
    count = 11
    labels = [(f'{number}.png', 'x + 1' if number % 2 else 'x ^ { 2 }') for number in range(count)]
    labels[4] = ('4.png', '')
    data = prepared(tmp_path_factory.mktemp('ragged'), 'some/train', labels, broken=('5.png',))
    for number in range(count):
        if number != 5:
            small = np.random.default_rng(number).integers(0, 256, (4, 8), np.uint8)
            size = (90, 60) if number == 7 else (30 + 5 * number, 18 + 2 * number)
            picture = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(data / 'some' / 'train' / f'{number}.png'), picture)
    pack.pack('some:train', recipes(), data, data / 'packed', 1)
    return data


def batches(root, config, devices):
    """The batches of two epochs as read by the host, and as gathered by so many devices."""
    vocab, source = vocabulary.from_config(config.text), [open_set('packed', config, root)]
    mesh = make_mesh(config.mesh, jax.devices()[:devices])
    plan = make_plan(config, vocab, source, devices)
    host = Batches(joined(source), plan, np.arange, vocab, config, 100)
    store = resident.make_store(joined(source), mesh, config)
    gather = jax.jit(store.gather, static_argnums=2)
    for step in range(2 * plan.epoch):
        yield host[step], jax.device_get(gather(store.arrays, store.places(plan, step), plan.shape(step)))


@pytest.mark.parametrize(('fields', 'devices', 'off'), [({}, 1, 0), (MOVED, 2, 2.5)])
def test_batches_are_those_of_the_host(root, fields, devices, off):
    moved = used = 0
    for want, got in batches(root, recipes(**fields), devices):
        assert set(got) == set(want) - {'notes', 'rows'}
        for name in set(got) - {'image'}:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)
        for mine, theirs, (height, width) in zip(got['image'], want['image'], want['size'], strict=True):
            mine, theirs = mine.astype(int), theirs.astype(int)
            assert not mine[height:].any() and not mine[:, width:].any()
            if height:
                assert np.abs(mine - theirs)[:height, :width].mean() <= off  # the host rounds in between
                moved, used = moved + (mine != theirs).any(), used + 1
    assert used > 10 and moved <= used * bool(off)


def test_training_takes_all_shapes_from_the_devices_and_names_what_it_leaves_out(root, tmp_path, capsys):
    config = recipes(**MOVED, **{'data.resident': True, 'data.buckets': ('32x80',), 'eval.limit': 2})
    trained(config, tmp_path, root=root)
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    losses = [line['loss'] for line in lines if 'loss' in line]
    said = capsys.readouterr().out
    assert 'compiled 2 shapes of training' in said and len(losses) == int(said.split(' steps (2 epochs)')[0])
    assert np.isfinite(losses).all() and {line['rows'] for line in lines if 'rows' in line} == {1, 2}
    reasons = [line.split('\t')[1] for line in (tmp_path / 'rejected.tsv').read_text().splitlines()[1:]]
    assert set(reasons) == {'empty', 'is not an image', 'larger than 48 x 96'}


def test_steps_of_a_shape_in_one_call_are_steps_one_by_one(root):
    config, vocab = recipes(**MOVED), vocabulary.from_config(recipes().text)
    source = [open_set('packed', config, root)]
    mesh, plan = make_mesh(config.mesh, jax.devices()[:2]), make_plan(config, vocab, source, 2)
    store, shape = resident.make_store(joined(source), mesh, config), plan.shape(0)
    places = [store.places(plan, step) for step in range(3 * plan.epoch) if plan.shape(step) == shape][:3]

    def step(state, arrays, places):
        shares = store.gather(arrays, places, shape)['image'].astype(np.float32).mean((1, 2, 3))
        return state * 0.9 + shares.sum(), {'loss': shares.mean() + state}

    found = []
    for looped in (True, False):
        several, state = Several(step, mesh, replicated(mesh), looped), np.float32(0)
        compiled = several.lower(state, store.arrays, places).compile()
        state, metrics = several.run(compiled, state, store.arrays, places)
        found.append([float(state), *np.asarray(metrics['loss'])[:3].tolist()])
    assert found[0] == pytest.approx(found[1], rel=1e-6) and found[0][0] > 0


def test_every_device_holds_all_pixels_and_the_bytes_are_counted(root):
    config = recipes()
    source = joined([open_set('packed', config, root)] * 2)
    mesh = make_mesh(config.mesh, jax.devices()[:2])
    arrays = resident.make_store(source, mesh, config).arrays
    assert all(array.is_fully_replicated for array in arrays.values())
    assert resident.size(source, mesh, config) == sum(array.nbytes for array in arrays.values())
