"""What a recognizer accepts, in which order batches are read, and the results of images."""

import math
import weakref

import cv2
import numpy as np
import pytest
from PIL import Image
from small import ROOT

import recog
from recog.config import recipe
from recog.data import files
from recog.data.batches import Steps, unpack_notes
from recog.data.joined import Joined
from recog.data.pipeline import read_ahead
from recog.data.rows import Row
from recog.data.shapes import shapes
from recog.errors import ConfigError
from recog.images.read import Unreadable
from recog.reading import adapt
from recog.reading.answer import Answer
from recog.reading.read import Reading, Scored, chosen, read_source, set_length
from recog.reading.recognizer import Arrays
from recog.text.vocabulary import Vocab


def pixels(seed=0, height=20, width=50):
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (5, 9, 3), np.uint8), (width, height))


class Counted:
    """An engine that reads the mean of an image as its token, and keeps the shapes of the batches."""

    multiple = processes = 1

    def __init__(self):
        self.shapes = []

    def places(self, rows):
        return np.arange(rows)

    def answers(self, batches, longest):
        for batch in batches:
            self.shapes.append(batch['image'].shape[:3])
            mean = np.rint(batch['image'].mean((1, 2, 3))).astype(np.int32)
            out = {'tokens': mean[:, None, None], 'score': np.zeros((len(mean), 1)),
                   'mean_token': np.ones((len(mean), 1))}
            yield chosen(out, batch), unpack_notes(batch['notes'])


class Grey:
    """Images of one grey each, number 3 of which is broken."""

    name = 'grey'

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def rows(self, indices):
        return [Row(str(i), '', None, 'is broken') if i == 3 else
                Row(str(i), '', np.full((32, 100, 3), i, np.uint8)) for i in indices]


@pytest.mark.parametrize('threads', [0, 1, 3])
def test_readings_come_in_order_whatever_reads_ahead(threads):
    config, engine = recipe.base(), Counted()
    config.data.threads, config.data.workers = threads, 0
    vocab = Vocab(tuple(str(number) for number in range(256)))
    found = list(read_source(engine, Grey(21), vocab, config, batch=4))
    assert [reading.row for reading in found] == list(range(21))
    assert [reading.text for reading in found] == [None if i == 3 else str(i) for i in range(21)]
    assert found[3].reason == 'is broken' and {shape[0] for shape in engine.shapes} == {4}


@pytest.mark.parametrize('rule', ['fixed', 'widest'])
@pytest.mark.parametrize('fit', ['pad', 'none'])
def test_the_images_of_a_batch_are_not_in_memory_together(tmp_path, fit, rule):
    config, alive, most = recipe.base(), set(), [0]
    config.image.fit, config.image.width_rule = fit, rule

    def read(path):
        image = decode(path)
        alive.add(id(image))
        weakref.finalize(image, alive.discard, id(image))
        most[0] = max(most[0], len(alive))
        return image

    decode = files.read_image
    paths = [str(tmp_path / f'{number}.png') for number in range(8)]
    for number, path in enumerate(paths):
        cv2.imwrite(path, pixels(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, 'read_image', read)
        source = adapt.Adapted(Joined([files.Files('a', paths[:5]), Arrays(paths[5:])]), config.image, 'auto')
        steps = Steps(source, np.arange, 8, config, 0)
        assert (steps[0]['size'] > 0).all() and 1 <= most[0] <= 2


def test_a_batch_as_wide_as_its_images_has_a_limit():
    config = recipe.base()
    config.image.width_rule = 'widest'
    steps = Steps(Arrays([np.zeros((1, 1_000_000), np.uint8), pixels()]), np.arange, 2, config, 0)
    batch = steps[0]
    assert batch['image'].shape[2] == 100 * config.image.height and (batch['size'] > 0).all()


@pytest.mark.parametrize(('count', 'rows'), [(1, 1), (2, 2), (3, 4), (5, 8), (9, 8)])
def test_batches_have_few_sizes(count, rows):
    engine = Counted()
    list(read_source(engine, Grey(count), Vocab(tuple(map(str, range(256)))), recipe.base(), batch=8))
    assert {shape[0] for shape in engine.shapes} == {rows}


def test_reading_may_stop_early():
    steps = Steps(Grey(40), np.arange, 2, recipe.base(), 0)
    for batch in read_ahead(steps, recipe.base()):
        assert batch['index'].tolist() == [0, 1]
        break


@pytest.mark.parametrize('make', [
    lambda array, file: str(file), lambda array, file: file, lambda array, file: file.read_bytes(),
    lambda array, file: array, lambda array, file: Image.open(file),
    lambda array, file: Image.open(file).convert('RGBA'),
])
def test_an_image_is_a_path_bytes_an_array_or_one_of_pillow(tmp_path, make):
    cv2.imwrite(str(tmp_path / 'a.png'), pixels())
    (row,) = Arrays([make(pixels(), tmp_path / 'a.png')]).rows([0])
    np.testing.assert_array_equal(row.image, pixels())


@pytest.mark.parametrize(('mode', 'value'), [('1', 255), ('L', 70), ('LA', 162), ('P', 70), ('I;16', 2),
                                             ('CMYK', 185)])
def test_images_of_pillow_in_other_modes_are_seen_as_their_files_would_be(mode, value):
    picture = Image.new('L', (6, 4), 70).convert(mode) if mode != 'I;16' else Image.new('I;16', (6, 4), 514)
    if mode == 'LA':
        picture.putalpha(128)
    if mode in ('1', 'CMYK'):
        picture = Image.new(mode, (6, 4), 1 if mode == '1' else (70, 70, 70, 0))
    (row,) = Arrays([picture]).rows([0])
    assert row.image.shape == (4, 6, 3) and row.image.tolist() == np.full((4, 6, 3), value).tolist()


def test_an_image_of_pillow_is_turned_upright():
    picture = Image.fromarray(pixels())
    picture.getexif()[0x0112] = 6
    (row,) = Arrays([picture]).rows([0])
    assert row.image.shape == (50, 20, 3)


@pytest.mark.parametrize(('given', 'words'), [
    (np.zeros((3, 3)), r'is an array of float64 \[3, 3\]; uint8'),
    (np.zeros((3, 3, 4), np.uint8), r'\[3, 3, 4\]'), (np.zeros((0, 3), np.uint8), r'\[0, 3\]'),
    (Image.new('F', (3, 3)), 'has pixels of 32 bits'), (b'', 'is empty'),
    ('nothing.png', 'does not exist'),
])
def test_what_is_no_image_is_named(given, words):
    (row,) = Arrays([given]).rows([0])
    assert row.image is None and row.id == (given if isinstance(given, str) else 'image 0')
    with pytest.raises(Unreadable, match=words):
        raise Unreadable(row.id, row.reason)


def test_what_cannot_be_an_image_at_all_is_refused():
    with pytest.raises(ConfigError, match='not int'):
        list(Arrays([7]).rows([0]))


def test_an_answer_is_a_pair_that_knows_the_others():
    answer = Answer.of(Reading(0, 'ab', 0.0, others=(Scored('ab', 0.0, 1.0), Scored('b', -9.0, 0.4))))
    text, confidence = answer
    assert (text, confidence) == ('ab', 1.0) == (answer.text, answer.confidence) and len(answer.others) == 2


def test_loading_what_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=f"workdir '{ROOT}' is not a workdir of recog"):
        recog.load(ROOT)
    with pytest.raises(ConfigError, match='does not exist'):
        recog.load('runs/none')


def test_the_confidence_of_a_text_is_its_probability_and_the_mean_of_its_tokens_stands_beside_it():
    reading = Reading(0, 'ab', math.log(0.25), 0.5, others=(Scored('ab', math.log(0.25), 0.5),
                                                            Scored('', math.log(0.1), 0.0)))
    answer = Answer.of(reading)
    assert answer == ('ab', pytest.approx(0.25)) and answer.mean_token == 0.5
    assert [other.confidence for other in answer.others] == pytest.approx([0.25, 0.1])
    assert Reading(0, 'a', 1e-7).confidence == 1  # what rounding made of 1


def test_an_image_that_cannot_be_read_has_an_answer_that_says_why():
    answer = Answer.of(Reading(0, None, reason='is broken'))
    assert answer == (None, 0) and answer.error == 'is broken'
    assert not Answer.of(Reading(0, 'a', -1.0, reason='was shrunk')).error


def test_shorter_texts_need_no_longer_canvases():
    config = recipe.base()
    config.image.update({'height': 64, 'width': 512, 'fit': 'none'})
    config.text.max_length = 80
    config.data.buckets = ('32x64', '32x128x24', '64x256x80')
    set_length(config, 90, 36)
    assert config.text.max_length == 36 and config.data.buckets == ('32x64', '32x128x24', '64x256x36')
    assert shapes(config, 1, 1)[-1][1:] == (64, 512, 36)
