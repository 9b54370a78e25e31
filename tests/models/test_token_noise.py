"""Wrong tokens that a decoder of formulas is given in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from narrow_models import NARROW, VOCAB, make_batch, random_variables
from small import QUICKLY

from recog import models
from recog.config.recipe import base
from recog.errors import ConfigError
from recog.models.parts.formula_labels import ENDS, OFFSET, STARTS, inputs, targets, with_noise
from recog.models.parts.refined_decoder import PAD

KINDS = len(VOCAB) + OFFSET


def model(name, **fields):
    own, image = NARROW[name]
    config = base(name=name, **(own | fields))
    config.image.update(image)
    return models.build(config, VOCAB)


def test_noise_replaces_its_share_of_the_tokens_and_neither_starts_nor_padding():
    batch = make_batch('comer', 64)
    classes = np.asarray(inputs(targets(batch, 2), batch['length']))
    noisy = np.asarray(with_noise(jnp.asarray(classes), KINDS, 0.3, jax.random.key(0)))
    tokens = classes >= OFFSET
    np.testing.assert_array_equal(noisy[~tokens], classes[~tokens])
    assert {PAD, *STARTS} == set(classes[~tokens].tolist()) and set(ENDS) == set(STARTS)
    assert noisy[tokens].min() >= OFFSET and noisy[tokens].max() < KINDS
    others = (len(VOCAB) - 1) / len(VOCAB)  # of the random ones, some are the same by chance
    assert (noisy != classes)[tokens].mean() == pytest.approx(0.3 * others, abs=0.07)


@pytest.mark.parametrize('name', ['comer', 'tamer'])
def test_tokens_are_noisy_in_training_alone(name):
    batch, plain, noisy = make_batch(name, 4), model(name, token_noise=0.0), model(name, token_noise=0.9)
    variables = random_variables(plain)

    def losses(train, seed):
        return [float(jax.jit(each.loss, static_argnames='train', compiler_options=QUICKLY)(
            variables, batch, key=jax.random.key(seed), train=train)[0][0]) for each in (plain, noisy)]

    unchanged, same = losses(False, 0)
    assert unchanged == same
    (without, once), (_, again) = losses(True, 0), losses(True, 1)
    assert without != once != again


def test_noise_that_is_no_share_is_refused():
    with pytest.raises(ConfigError, match=r'model\.token_noise'):
        model('comer', token_noise=1.0)
