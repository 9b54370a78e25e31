"""RARE's rectifier, and what follows it, against the reference in stages; goldens/README.md says why."""

from typing import Any, NamedTuple

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import difference
from small import QUICKLY

from recog import models
from recog.models.parts import gru_attention, rectification
from recog.models.parts.layers import Context
from recog.models.peers import from_peer

MOBILENET = 'rec_mv3_tps_bilstm_att'


class Ours(NamedTuple):
    """What we compute from a golden's inputs; `later` from its rectified image on, and from ours."""

    want: dict[str, np.ndarray]
    rectified: dict[str, Any]
    later: dict[str, Any]
    forced: Any


@pytest.fixture(scope='module', params=[MOBILENET, 'rec_r34_vd_tps_bilstm_att'])
def ours(request) -> Ours:
    want, _, state = golden.golden(request.param)
    image, rows = jnp.asarray(want['image'].transpose(0, 2, 3, 1)), len(want['image'])
    whole = golden.variables(golden.build(request.param), state)
    bare = {key: value for key, value in state.items() if not key.startswith('transform.')}
    alone = golden.build(request.param, 'model.rectify=none')
    rest = golden.variables(alone, bare)
    rectified = rectify(request.param, whole, image)
    both = jnp.concatenate([want['eval.rectified'].transpose(0, 2, 3, 1), rectified['rectified']])
    batch = {'image': both, 'size': jnp.tile(jnp.array(both.shape[1:3]), (2 * rows, 1))}
    later, _ = jax.jit(alone.apply, compiler_options=QUICKLY)(rest, batch)
    read = jax.jit(gru_attention.unroll, compiler_options=QUICKLY)
    forced, _ = read(rest['params']['head'], later['neck'][:rows], jnp.asarray(want['label'], jnp.int32))
    return Ours(want, rectified, later, forced)


def rectify(name: str, whole: models.Variables, image: Any) -> dict[str, Any]:
    """The stages of the rectifier of a recipe."""
    rule = golden.recipe(name).model
    module = rectification.Rectifier(rectification.SIZES[rule.rectify], rule.fiducials, rule.start, rule.border, (32, 100))

    def apply(state, image):
        return module.apply(state, image, context=Context(False, None, 0, jnp.float32))

    state = {'params': whole['params']['transform'], 'batch_stats': whole['stats']['transform']}
    return jax.jit(apply, compiler_options=QUICKLY)(state, image)


def channels_first(image: Any) -> np.ndarray:
    """As the reference has them."""
    return np.asarray(image).transpose(0, 3, 1, 2)


def test_fiducials_and_grid_equal_the_references(ours):
    assert difference(ours.rectified['fiducials'], ours.want['eval.fiducials']) < 1e-6
    # Rounding of the spline's first product is amplified.
    assert difference(ours.rectified['grid'], ours.want['eval.grid']) < 3e-5


def test_the_image_sampled_at_the_references_grid_is_the_references_rectified_image(ours):
    image, grid = jnp.asarray(ours.want['image'].transpose(0, 2, 3, 1)), jnp.asarray(ours.want['eval.grid'])
    assert difference(channels_first(rectification.sample(image, grid)), ours.want['eval.rectified']) < 1e-6
    # Noise amplifies what the grid is off by.
    assert difference(channels_first(ours.rectified['rectified']), ours.want['eval.rectified']) < 1e-3


@pytest.mark.parametrize('stage', ['backbone', 'neck', 'head'])
def test_backbone_neck_and_head_equal_the_references(ours, stage):
    got, want = ours.later[stage], ours.want[f'eval.{stage}']
    got = channels_first(got) if stage == 'backbone' else jax.nn.softmax(got) if stage == 'head' else got
    assert difference(got[: len(want)], want) < 1e-4  # from its rectified image on
    assert difference(got[len(want) :], want) < 2e-3  # from ours, as far as noise allows


def test_the_head_that_reads_the_label_equals_the_references(ours):
    assert difference(jax.nn.softmax(ours.forced), ours.want['eval.head_forced']) < 1e-4


def test_what_the_reference_counts_and_we_leave_out_are_the_zeros_below_the_points():
    for name in (name for name in golden.names() if golden.facts(name)['recipe'].startswith('rare.py')):
        _, rows, _ = golden.golden(name)
        zeros = {row['key']: row['shape'] for row in rows if row['key'] in rectification.ZEROS}
        assert sum(int(np.prod(shape)) for shape in zeros.values()) == 246  # 40 x 6 and 6
        peers = golden.build(name).peers
        assert {key for key, peer in peers.items() if peer == models.ZERO} == set(zeros) == set(rectification.ZEROS)


def test_a_checkpoint_whose_zeros_are_not_zero_is_refused():
    state, model = golden.golden(MOBILENET)[2], golden.build(MOBILENET)
    state[rectification.ZEROS[1]] = np.array([0, 0, 0, 1e-3, 0, 0])
    with pytest.raises(ValueError, match=r'^checkpoint: not zero, as the model has it, transform.grid_generator.fc.bias$'):
        from_peer(model, state)
