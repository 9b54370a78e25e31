"""The learning rates of recipes with a schedule, step by step, against the references'."""

import golden
import jax
import jax.numpy as jnp
import numpy as np
from small import ROOT

from recog.config import experiments
from recog.train import optimizer
from recog.train.patience import Patience


def recipe(name: str):
    """The published recipe, with its own schedule."""
    return experiments.load(str(ROOT / 'experiments' / name))


def test_rates_of_can_are_the_references():
    want = golden.data()[0]['can_rates']
    rate = optimizer.schedule(recipe('can.py:d28'), len(want), 5)
    np.testing.assert_allclose(jax.vmap(rate)(jnp.arange(len(want))), want, rtol=1e-4, atol=1e-9)


def test_rates_of_latex_ocr_are_the_references():
    want = golden.data()[0]['latex_rates']
    rate = optimizer.schedule(recipe('latex_ocr.py:r34'), len(want), 4)
    np.testing.assert_allclose(jax.vmap(rate)(jnp.arange(len(want))), want, rtol=1e-5, atol=1e-12)


def test_rates_of_comer_after_each_evaluation_and_of_tamer_in_each_epoch_are_the_references():
    with np.load(golden.GOLDENS / 'both_ways.npz') as arrays:
        accuracies, want, epochs = (
            arrays[name] for name in ('rates_comer.exprate', 'rates_comer.rate', 'rates_tamer.rate'))
    config, patience, rates = recipe('comer.py:crohme'), Patience(), []
    for accuracy in accuracies:
        patience = patience.after(float(accuracy), config)
        rates.append(config.optimizer.rate * patience.scale(config))
    np.testing.assert_allclose(rates, want, rtol=1e-12)
    rate = optimizer.schedule(recipe('tamer.py:crohme'), len(epochs), 1)
    np.testing.assert_allclose(jax.vmap(rate)(jnp.arange(len(epochs))), epochs, rtol=1e-6)
