"""Fixtures of the tests of workdirs."""

import jax
import numpy as np
import pytest

from recog import models
from recog.text import vocabulary
from recog.workdir import description
from recog.workdir.checkpoints import Checkpoints


@pytest.fixture
def run(narrow, tmp_path):
    """A workdir with one checkpoint."""
    config, workdir = narrow(), tmp_path / 'run'
    vocab = vocabulary.from_config(config.text)
    description.write(workdir, config, vocab)
    shapes = jax.eval_shape(models.build(config, vocab).init, jax.random.key(0))
    checkpoints = Checkpoints(workdir)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    checkpoints.save(3, {'variables': variables}, description.record(config, vocab, 3, {}, {}),
                     {'accuracy': 0.5})
    checkpoints.close()
    return workdir
