"""A list of words that a model prefers: how it counts, where it is kept, and all that reads with it."""

import json
import lzma
import math

import jax
import pytest
from small import DEMO, NARROW, prepared

import recog
from recog import models
from recog.commands import command_line
from recog.config import experiments
from recog.errors import ConfigError
from recog.evaluation import measurements
from recog.export import write
from recog.text import vocabulary
from recog.text.lexicon import Lexicon, words_of
from recog.workdir import description, lexicon, published
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.opened import open_workdir

IMAGES, BEAM = 6, 4


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with a model that has learnt nothing, images, and a list: of each image but the first the
    second of the texts that the model finds, which is the label, too."""
    place = tmp_path_factory.mktemp('lexicon')
    config = experiments.load(DEMO, [*NARROW])
    vocab = vocabulary.from_config(config.text)
    description.write(place / 'run', config, vocab)
    checkpoints = Checkpoints(place / 'run')
    checkpoints.save(3, {'variables': models.build(config, vocab).init(jax.random.key(0))},
                     description.record(config, vocab, 3, {}, {}), {'accuracy': 0.5})
    checkpoints.close()
    root = prepared(place, 'mine', [(f'{number}.png', 'x') for number in range(IMAGES)])
    answers = recog.load(place / 'run', beam=BEAM, best=BEAM)(images(place))
    first, *others = (answer.others for answer in answers)
    labels = [first[0].text, *(texts[1].text for texts in others)]
    assert all(labels) and labels[0] not in labels[1:]
    (root / 'mine' / 'labels.tsv').write_text(''.join(
        f'{number}.png\t{label}\n' for number, label in enumerate(labels)))
    (place / 'words.txt').write_text('\n'.join([*map(str.upper, labels[1:]), '...', 'other']))
    assert command_line.main(['lexicon', str(place / 'run'), '--words', str(place / 'words.txt'), '--set',
                              'mine', '--data', str(root), '--beam', str(BEAM)]) == 0
    return place


def images(place):
    return [str(place / 'data' / 'mine' / f'{number}.png') for number in range(IMAGES)]


def labels(place):
    lines = (place / 'data' / 'mine' / 'labels.tsv').read_text().splitlines()
    return [line.split('\t')[1] for line in lines]


def test_words_on_the_list_and_numbers_gain_and_what_was_not_found_counts_as_off_the_list():
    words = Lexicon(words_of(["Can't", 'stop', '!']), 2.0, 3)
    assert words.words == {'cant', 'stop'} and words.has('STOP!') and words.has('7') and not words.has('shop')
    shop, stop = words.scores(['shop', 'Stop'], [math.log(0.5), math.log(0.3)])
    whole = 0.5 + 0.3 * math.exp(2) + 0.2
    assert math.exp(shop) == pytest.approx(0.5 / whole)
    assert math.exp(stop) == pytest.approx(0.3 * math.exp(2) / whole)


def test_how_much_the_list_counts_is_found_on_validation_and_kept(place):
    found = lexicon.read(place / 'run')
    record = json.loads((place / 'run' / 'lexicon.json').read_text())
    assert found.words == {*labels(place)[1:], 'other'} and found.beam == BEAM
    assert record['lists'] == ['words.txt'] and record['sets'] == ['mine'] and record['count'] == IMAGES
    assert record['right']['0.0'] <= 1 and record['right'][str(found.prefer)] == max(record['right'].values())
    assert all(record['right'][each] < max(record['right'].values())
               for each in record['right'] if float(each) < found.prefer)


def test_predict_python_and_evaluate_read_with_the_list_unless_the_beam_is_1(place, capsys):
    root, wanted = str(place / 'data'), labels(place)
    with_list = recog.load(place / 'run')
    assert [answer.text for answer in with_list(images(place))] == wanted
    assert not with_list(images(place))[1].others
    several = recog.load(place / 'run', best=2)(images(place)[1])
    assert [other.text for other in several.others][0] == wanted[1] and len(several.others) == 2
    assert several.others[0].confidence >= several.others[1].confidence
    greedy = recog.load(place / 'run', beam=1)(images(place))
    assert [answer.text for answer in greedy[1:]] != wanted[1:]
    line = ['evaluate', str(place / 'run'), '--set', 'mine', '--data', root]
    assert command_line.main(line) == command_line.main([*line, '--beam', '1']) == 0
    marked, plain = measurements.read(place / 'run')
    assert marked.document['lexicon'] == lexicon.read(place / 'run').mark and 'lexicon' not in plain.document
    assert marked.document['beam'] == BEAM and marked.sets['mine']['right'] == IMAGES
    assert plain.sets['mine']['right'] <= 1


def test_places_are_those_of_the_text_that_the_list_chose(place):
    found = recog.load(place / 'run', places=True)(images(place)[1])
    assert ''.join(each.token for each in found.places) == found.text == labels(place)[1]


def test_a_reader_and_an_export_bring_the_list_along(place, tmp_path):
    reader = tmp_path / 'reader'
    assert command_line.main(['publish', str(place / 'run'), str(reader), '--licence-weights', 'Apache-2.0',
                              '--licence-data', 'none']) == 0
    assert {'lexicon.json', 'lexicon.txt.xz'} <= set(published.read_manifest(reader)['files'])
    assert '## Words that it prefers\n\n6 words of words.txt. A word' in (reader / 'card.md').read_text()
    assert [answer.text for answer in recog.load(reader)(images(place))] == labels(place)
    for number, beam in enumerate((0, 1)):
        folder = tmp_path / f'export-{number}'
        write.write_export(open_workdir(reader), folder, 'stablehlo', str(reader), beam=beam)
        read = [answer.text for answer in recog.load(folder)(images(place))]
        assert (read == labels(place)) == (beam != 1)
        assert (folder / 'lexicon.json').is_file() == (beam != 1)


def test_words_survive_being_packed():
    words = frozenset({'a', 'abc', 'abd', 'b2', '1st', 'x' * 60, 'x' * 61})
    assert set(lexicon._unpacked(lzma.decompress(lexicon.packed(words)).decode())) == words


@pytest.mark.parametrize(('change', 'words'), [
    ({'prefer': 'much'}, None), ({'prefer': 1e9}, None), ({'beam': 1}, None), ({'beam': 2.5}, None),
    (None, b'no xz'), ({}, lzma.compress('Aé'.encode())), ({}, lzma.compress(b'A b'))])
def test_a_damaged_list_is_one_line(tmp_path, change, words):
    lexicon.write(tmp_path, Lexicon(frozenset({'word'}), 1.0, 4), {})
    if change is not None:
        facts = json.loads((tmp_path / 'lexicon.json').read_text()) | change
        (tmp_path / 'lexicon.json').write_text(json.dumps(facts))
    if words is not None:
        (tmp_path / 'lexicon.txt.xz').write_bytes(words)
    with pytest.raises(ConfigError, match=r'lexicon.json is damaged; make the list again with recog lexicon'):
        lexicon.read(tmp_path)


def test_what_cannot_be_is_one_line(place, tmp_path, capsys):
    (tmp_path / 'signs.txt').write_text('...\n')
    (tmp_path / 'none.txt').write_text('nothing\n')
    run, words = str(place / 'run'), str(place / 'words.txt')
    for said, line in (
            ('holds no word of letters a to z or digits', [run, '--words', str(tmp_path / 'signs.txt')]),
            ('none cannot be read', [run, '--words', str(tmp_path / 'none')]),
            ('--beam 1 must be from 2 to 1000', [run, '--words', words, '--beam', '1']),
            ('iiit5k:test is a test set', [run, '--words', words, '--set', 'iiit5k:test']),
            ('is a published reader, which stays as it is', ['words', '--words', words]),
            ('does not help in mine: without it', [run, '--words', str(tmp_path / 'none.txt'), '--set',
                                                  'mine', '--data', str(place / 'data')])):
        assert command_line.main(['lexicon', *line]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count('\n') == 1
