"""CAN's masks and greedy decoding against the reference's own numbers;
goldens/README.md says how they were made."""

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import difference
from small import QUICKLY

from recog.models import can
from recog.models.backbones import densenet
from recog.models.parts import coverage_attention

NAME = 'rec_d28_can'
SIZES = ((70, 150), (45, 101))  # odd, and different: the second is padded


@pytest.fixture(scope='module')
def checkpoint():
    """The golden's arrays, the model, its variables and the batch."""
    want, _, state = golden.golden(NAME)
    model = golden.build(NAME)
    return want, model, golden.variables(model, state), golden.batch(NAME, want)


def test_the_sizes_are_those_of_the_goldens_masks(checkpoint):
    want, _, _, batch = checkpoint
    assert batch['size'].tolist() == [list(size) for size in SIZES]
    mask = np.asarray(densenet.inside(batch['size'], batch['image'], 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(mask, want['mask'] > 0)


def test_greedy_words_of_36_steps_from_the_references_features_equal_the_references(checkpoint):
    want, _, variables, batch = checkpoint
    features, counts = (
        jnp.asarray(want['eval.backbone'].transpose(0, 2, 3, 1)), jnp.asarray(want['eval.counts']))
    cells = densenet.inside(batch['size'], features, densenet.STRIDE)[..., 0]

    def greedy(parameters, features, counts):
        memory, start = coverage_attention.make_memory(parameters, features, cells, counts)

        def step(carry, _):
            hidden, seen, classes = carry
            logits, hidden, weights = coverage_attention.advance(parameters, memory, hidden, seen, classes)
            return (hidden, seen + weights, logits.argmax(-1)), logits[:, 0]

        first = start[:, None], jnp.zeros((2, 1, *cells.shape[1:])), jnp.full((2, 1), can.START)
        return jax.lax.scan(step, first, length=36)[1].swapaxes(0, 1)

    logits = jax.jit(greedy, compiler_options=QUICKLY)(variables['params']['head'], features, counts)
    assert difference(logits, want['eval.words_greedy']) < 1e-4


def test_an_image_that_fills_its_canvas_is_decoded_as_the_reference_does(checkpoint):
    want, model, variables, batch = checkpoint
    result = jax.jit(model.decode, compiler_options=QUICKLY)(variables, batch['image'], batch['size'], 36)
    words = want['eval.words_greedy'][0].argmax(-1)
    assert can.END not in words and can.START not in words
    np.testing.assert_array_equal(result['tokens'][0, 0, :36], words - can.OFFSET)
    assert result['length'][0, 0] == 36
