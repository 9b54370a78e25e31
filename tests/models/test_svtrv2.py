"""SVTRv2: images on canvases by their ratio, labels, decoding, loss, rates and decay as the reference's; its
sizes, its parts, and what it refuses."""

import json
from functools import partial

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import QUICKLY, ROOT

from recog import models
from recog.config import experiments
from recog.data.labels import encode
from recog.data.shapes import fitted, shapes
from recog.errors import ConfigError
from recog.images.fit import fit_batch, normalise
from recog.models import svtrv2
from recog.models.backbones.mixers import Skipped
from recog.models.decoding.ctc import best_path, ctc_loss, finish
from recog.text import vocabulary
from recog.train import optimizer

FILE = str(ROOT / 'experiments' / 'svtrv2.py')
ARRAYS = np.load(golden.GOLDENS / 'svtrv2.data.npz')
WORDS = json.loads((golden.GOLDENS / 'svtrv2.data.json').read_text())


def recipe(variant='t', *overrides):
    return experiments.load(f'{FILE}:{variant}', [f'--config.{each}' for each in overrides])


def build(variant='t', *overrides):
    config = recipe(variant, *overrides)
    return models.build(config, vocabulary.from_config(config.text))


def shaped(model):
    return jax.eval_shape(model.init, jax.random.key(0))


@pytest.mark.parametrize('variant, column', [('t', 2), ('wide', 3)])
def test_canvases_are_those_that_the_reference_evaluates_on(variant, column):
    config = recipe(variant)
    sizes = np.array([row[:2] for row in WORDS['sizes']])
    np.testing.assert_array_equal(fitted(sizes, shapes(config, 1, 1), 'ratio'),
                                  [row[column] for row in WORDS['sizes']])


def test_pixels_are_the_references_bit_for_bit():
    config = recipe()
    for number in range(5):
        picture, want = golden.data()[0][f'picture{number}'], ARRAYS[f'image{number}']
        (height, width), = fitted(np.array([picture.shape[:2]]), shapes(config, 1, 1), 'ratio')
        image, size = fit_batch([picture], config.image, height, width)
        np.testing.assert_array_equal(image[0], want)
        assert size.tolist() == [[height, width]]
        # The reference's (x / 255 - 0.5) / 0.5 in float32.
        values = ((want / np.float32(255)) - np.float32(0.5)) / np.float32(0.5)
        np.testing.assert_array_equal(normalise(image, size, config.image)[0], values)


def test_labels_are_the_references():
    vocab, compared = vocabulary.from_config(recipe().text), 0
    for text, want in zip(WORDS['texts'], WORDS['encoded'], strict=True):
        label = encode(vocab, text, 25)
        assert [each + 1 for each in label.ids] == (want or [])
        compared += bool(want)
    assert compared == 18


def test_decoded_texts_and_their_confidences_are_the_references():
    frames, vocab = jnp.log(ARRAYS['scores']), vocabulary.from_config(recipe().text)
    result = finish(best_path(frames), frames, 25, False)
    assert [vocab.decode(row[0].tolist()) for row in result['tokens']] == [
        text for text, _ in WORDS['decoded']]
    np.testing.assert_allclose(result['mean_token'][:, 0], [sure for _, sure in WORDS['decoded']], rtol=1e-6)


def test_the_loss_of_each_label_and_its_gradient_are_the_references():
    length = jnp.asarray(ARRAYS['ctc_length'])
    tokens = jnp.where(jnp.arange(25) < length[:, None], ARRAYS['ctc_label'] - 1, -1)

    def mean(logits):
        losses, _ = ctc_loss(logits, tokens, length)
        return losses.mean(), losses

    gradient, losses = jax.jit(jax.grad(mean, has_aux=True))(jnp.asarray(ARRAYS['ctc_logits']))
    np.testing.assert_allclose(losses, ARRAYS['ctc_each'], rtol=1e-5)
    assert losses[2] == 0 and golden.difference(gradient, ARRAYS['ctc_grad']) < 1e-4


def test_rates_are_the_references():
    want = ARRAYS['rates']
    rate = optimizer.schedule(recipe(), len(want), WORDS['steps_per_epoch'])
    np.testing.assert_allclose(jax.vmap(rate)(jnp.arange(len(want))), want, rtol=1e-4, atol=1e-10)


def test_the_parameters_that_decay_are_the_references():
    arrays, _, _ = golden.golden('svtrv2_t')
    config, model = recipe(), build()
    tx = optimizer.optimizer(config, lambda step: 1.0)
    # Of each parameter one element is enough; its axes say whether it is a vector.
    params = jax.tree.map(lambda leaf: np.ones([1] * leaf.ndim, np.float32), shaped(model)['params'])

    @partial(jax.jit, compiler_options=QUICKLY)
    def update(params):
        return tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)[0]

    moved = models.flatten({'params': jax.tree.map(bool, jax.device_get(update(params)))})
    want = dict(zip(arrays['train.grad_keys'].tolist(), arrays['train.decayed'].tolist(), strict=True))
    assert {key: moved[model.peers[key].path] for key in want} == want


@pytest.mark.parametrize('variant, trainable, every', [
    ('s', 11_251_247, 11_251_535), ('b', 19_755_551, 19_755_935),
    ('b model.pool=mean', 17_772_319, 17_772_703)])
def test_parameter_counts_are_the_published_ones(variant, trainable, every):
    found = shaped(build(*variant.split()))
    assert [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (found['params'], found)] == [
        trainable, every]


def test_a_module_without_parameters_counts_between_local_and_global_blocks():
    def blocks(variant):
        keys = build(variant).peers
        return {key.split('.')[4] for key in keys if key.startswith('encoder.stages.1.blocks')}

    assert blocks('b') == {'0', '1', '3', '4', '5', '6'}
    assert blocks('global') == set('012345')


def test_of_a_checkpoint_with_two_heads_that_of_ctc_is_taken():
    state = {'encoder.a': 1, 'decoder.ctc_decoder.fc.bias': 2, 'decoder.gtc_decoder.fc.bias': 3}
    assert svtrv2.adapt(state) == {'encoder.a': 1, 'decoder.fc.bias': 2}
    assert svtrv2.adapt({'decoder.fc.bias': 2}) == {'decoder.fc.bias': 2}


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean():
    module, x = Skipped(0.25), jnp.ones((4000, 1, 2, 3))
    dropped = module.apply({}, x, True, rngs={'dropout': jax.random.key(0)})
    kept = np.asarray(dropped[:, 0, 0, 0]) > 0
    np.testing.assert_allclose(dropped, np.where(kept, 4 / 3, 0)[:, None, None, None] * np.ones(x.shape))
    assert kept.mean() == pytest.approx(0.75, abs=0.03)
    for calm in (module.apply({}, x, True), module.apply({}, x, False, rngs={'dropout': jax.random.key(0)})):
        np.testing.assert_array_equal(calm, x)


@pytest.mark.parametrize('override, said', [
    ('model.widths=(64,128,250)', 'must be 3 even multiples of model.head_width=32'),
    ('model.blocks=(3,6)', 'must be 3 numbers of at least 1'),
    ('image.fit=none', 'must be pad, stretch, steps or ratio for svtrv2'),
    ('image.width=130', 'must be a multiple of 4 for svtrv2'),
    ("data.buckets=('64x64','32x33')", 'both for images about 1 times as wide as high'),
    ('image.width_rule=widest', 'cannot be combined with config.image.fit=ratio'),
])
def test_what_does_not_fit_is_refused_in_a_line(override, said):
    with pytest.raises(ConfigError, match=said):
        build('modern', override)
