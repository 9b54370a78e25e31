"""Pictures of how an image was read."""

import cv2
import numpy as np
from runs import trained

from recog.commands import command_line
from recog.config import recipe
from recog.reading import explain
from recog.reading.read import Reading
from recog.text.vocabulary import Vocab

WORD = 'ab'


def reading(**maps):
    """A reading of two characters with these maps."""
    details = {'image': np.zeros((32, 100, 3), np.uint8), 'size': np.array([32, 60]),
               'tokens': np.array([10, 11, -1]), 'token_confidence': np.array([0.9, 0.8, 0.0]), **maps}
    return Reading(0, WORD, -0.16, 0.85, '', details)


def drawn(folder, **maps):
    file = folder / 'picture.png'
    explain.draw(reading(**maps), Vocab('0123456789abc'), recipe.base().image, file)
    return cv2.imread(str(file))


def test_each_kind_of_map_adds_to_the_picture(tmp_path):
    plain = drawn(tmp_path)
    attention = drawn(tmp_path, attention=np.random.default_rng(0).random((3, 1, 25)).astype(np.float32))
    frames = drawn(tmp_path, frames=np.eye(25, 14, dtype=np.float32))
    assert attention.shape[0] > plain.shape[0] and frames.shape[0] > plain.shape[0]


def test_rectified_images_and_their_points_are_shown_beside_the_image(tmp_path):
    points = np.stack([np.linspace(-1, 1, 20), np.zeros(20)], 1)
    both = drawn(tmp_path, rectified=np.random.default_rng(0).normal(size=(32, 100, 3)), fiducials=points)
    assert not np.array_equal(both, drawn(tmp_path))


def test_a_text_of_nothing_and_one_with_dollars_are_drawn(tmp_path):
    rule = recipe.base().image
    nothing = reading()._replace(text='', details={**reading().details, 'tokens': np.full(3, -1)})
    explain.draw(nothing, Vocab('$a'), rule, tmp_path / 'nothing.png')
    dollars = reading(attention=np.ones((3, 1, 25)))._replace(text='$$')
    explain.draw(dollars, Vocab('0123456789$^a'), rule, tmp_path / 'dollars.png')
    assert (tmp_path / 'nothing.png').stat().st_size and (tmp_path / 'dollars.png').stat().st_size


def test_predict_draws_a_picture_for_each_image_that_it_reads(narrow, tmp_path, capsys):
    folder = tmp_path / 'images'
    folder.mkdir()
    for name in ('one', 'two'):
        cv2.imwrite(str(folder / f'{name}.png'), np.full((20, 50, 3), 200, np.uint8))
    (folder / 'broken.png').write_bytes(b'nothing')
    workdir = trained(narrow('train.length=1 steps', 'render.count=64'), tmp_path / 'run')
    capsys.readouterr()
    assert command_line.main(['predict', str(workdir), str(folder), '--explain',
                              '--out', str(tmp_path / 'drawn')]) == 1
    said = capsys.readouterr()
    assert sorted(file.name for file in (tmp_path / 'drawn').iterdir()) == ['one.png', 'two.png']
    assert f'2 pictures in {tmp_path / "drawn"}' in said.err and 'broken.png: is not an image' in said.err
    assert command_line.main(['predict', str(workdir), str(folder / 'one.png'), '--max-length', '99']) == 2
    assert '--max-length 99: this model can write 12 tokens at most' in capsys.readouterr().err
