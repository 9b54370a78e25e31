"""Each model gives in onnxruntime the texts and scores that it gives in JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from narrow_models import LIVELY, NARROW, narrow, weighted
from onnx_files import SCALAR, operators, session
from small import QUICKLY

from recog import models
from recog.config.recipe import base
from recog.export.to_onnx.jaxpr import to_onnx
from recog.images.fit import channels


def compare(model: models.Model, variables: models.Variables, shape: tuple[int, ...], beam: int) -> list[str]:
    """A model's texts and scores for 1, 3 and 32 images, a bound on the length included."""
    generator = np.random.default_rng(2)
    decode = functools.partial(model.decode, beam=beam)
    sizes = ', '.join(map(str, shape))
    shapes = {'image': (f'b, {sizes}', 'uint8'), 'size': ('b, 2', 'int32'), 'max_length': SCALAR}
    made = to_onnx(decode, variables, shapes)
    ready = session(made)
    # Smooth waves: at a sharp edge, a rounding error in the place of a sample would change much.
    down, right, start = generator.uniform(-0.4, 0.4, (3, 32, 1, 1, shape[2]))
    phase = down * np.arange(shape[0])[:, None, None] + right * np.arange(shape[1])[:, None] + 15 * start
    image = (127 + 120 * np.sin(phase)).astype(np.uint8)
    widths = generator.integers(shape[1] // 2, shape[1] + 1, 32)
    size = np.stack([np.full(32, shape[0]), widths], 1).astype(np.int32)
    compiled = jax.jit(decode, compiler_options=QUICKLY)
    for most in (25, 4):
        wanted = jax.device_get(compiled(variables, image, size, jnp.int32(most)))
        assert wanted['length'].max() <= most
        assert most < 25 or len({text.tobytes() for text in wanted['tokens']}) > 2
        for rows in (1, 3, 32):
            given = {'image': image[:rows], 'size': size[:rows], 'max_length': np.asarray(most, np.int32)}
            names = [output.name for output in ready.get_outputs()]
            got = dict(zip(names, ready.run(None, given), strict=True))
            assert set(got) == set(wanted)
            for name in ('tokens', 'length'):
                np.testing.assert_array_equal(got[name], wanted[name][:rows])
            for name in ('score', 'mean_token'):
                np.testing.assert_allclose(got[name], wanted[name][:rows], rtol=1e-4, atol=1e-4)
    return operators(made.graph)


@pytest.mark.parametrize('beam', [1, 3])
@pytest.mark.parametrize('name', models.names())
def test_a_model_gives_the_same_texts_and_scores(name, beam):
    image = base().image
    image.update({'height': 32, 'width': 100, 'channels': 'bgr', **NARROW[name][1]})
    shape = image.height, image.width, channels(image)
    names = compare(narrow(name), weighted(narrow(name), *LIVELY.get(name, (2.5, 1))), shape, beam)
    assert 'Conv' in names or name == 'parseq'  # whose patches are cut and multiplied
    assert 'LSTM' in names if name in ('crnn', 'rare', 'latex_ocr') else 'LSTM' not in names
    assert ('GridSample' in names) == (name == 'rare')


def test_the_width_may_be_dynamic():
    model = narrow('crnn')
    variables = weighted(model)
    shapes = {'image': ('b, 32, 4*w, 3', 'uint8'), 'size': ('b, 2', 'int32'), 'max_length': SCALAR}
    ready = session(to_onnx(model.decode, variables, shapes))
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    size = np.array([[32, 64], [32, 40]], np.int32)
    given = {'image': image, 'size': size, 'max_length': np.asarray(20, np.int32)}
    got = dict(zip([output.name for output in ready.get_outputs()], ready.run(None, given), strict=True))
    wanted = jax.jit(model.decode, compiler_options=QUICKLY)(variables, *given.values())
    np.testing.assert_array_equal(got['tokens'], wanted['tokens'])
    np.testing.assert_allclose(got['score'], wanted['score'], rtol=1e-4, atol=1e-4)
