"""What goes into SRN and LaTeX-OCR (images, labels, positions) against the references' own numbers."""

import golden
import jax.numpy as jnp
import numpy as np
import pytest

from recog.images.fit import fit_image, normalise
from recog.models import latex_ocr, srn
from recog.text import vocabulary

SRN, LATEX_OCR = 'rec_r50_fpn_srn', 'latex_ocr_resnet34_transformer'
END = 37  # of SRN


def test_labels_of_srn_are_the_references():
    words, vocab = golden.data()[1], vocabulary.from_config(golden.recipe(SRN).text)
    pairs = [(text, want) for text, want in zip(words['texts'], words['srn_encoded'], strict=True) if want is not None]
    ids = [vocab.encode(text, max_length=25).ids for text, _ in pairs]
    tokens = np.array([[*row, *[-1] * (25 - len(row))] for row in ids])
    got = srn.labels(jnp.asarray(tokens), jnp.asarray([len(row) for row in ids]), 25, END)
    np.testing.assert_array_equal(got, [want for _, want in pairs])


def test_labels_of_latex_ocr_are_the_references():
    words, vocab = golden.data()[1], vocabulary.from_config(golden.recipe(LATEX_OCR).text)
    assert [*['<pad>', '<s>', '</s>'], *vocab.tokens] == words['latex_vocabulary']
    for label, want, clean in zip(words['latex'], words['latex_encoded'], words['latex_cleaned'], strict=True):
        ids = vocab.encode(label, max_length=222).ids
        assert vocab.decode(ids) == clean
        batch = {'tokens': jnp.array([[*ids, *[-1] * (22 - len(ids))]]), 'length': jnp.array([len(ids)])}
        ends = want.index(latex_ocr.END)
        assert latex_ocr._wanted(batch)[0, :ends].tolist() == want[1 : ends + 1]
        assert latex_ocr._given(batch)[0, :ends].tolist() == want[:ends]


@pytest.mark.parametrize('number', range(5))
def test_images_of_latex_ocr_are_the_references_bit_for_bit(number):
    arrays, rule = golden.data()[0], golden.recipe(LATEX_OCR).image
    canvas, size = fit_image(arrays[f'picture{number}'], rule)
    got = normalise(canvas[None], np.array([size]), rule)
    assert size == (128, 512) and got.shape == (1, 128, 512, 1)
    np.testing.assert_array_equal(got[0, ..., 0], arrays[f'latex{number}'])


def test_positions_of_latex_ocr_equal_the_references():
    with np.load(golden.GOLDENS / f'{LATEX_OCR}.npz') as arrays:
        want = arrays['eval.position']
    got = latex_ocr.sine_positions(jnp.zeros((1, 4, 12, 384))).transpose(0, 3, 1, 2)
    assert golden.difference(got, want) < 1e-6
