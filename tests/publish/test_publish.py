"""`recog publish`: the folder, its card, and what is refused."""

import json
import re

import pytest
from readers import DATA, LICENCES, RUN, publish

import recog
from recog.commands import command_line
from recog.publish import facts
from recog.text.vocabulary import CHARSETS, Vocab
from recog.workdir import published

TABLE = re.compile(r'\| packed \| (\d+) \| 24 \| [\d.]+% \| [\d.]+% to [\d.]+% \| protocol latex, beam 1')


def test_the_folder_holds_the_files_of_the_form_and_their_hashes(reader):
    assert {file.name for file in reader.iterdir()} == {*published.MEASURED, 'reader.json'}
    manifest = published.read_manifest(reader)
    assert published.contents(reader, manifest).keys() == set(published.MEASURED)
    assert 2 * manifest['parameters'] < (reader / 'weights.safetensors').stat().st_size < 40_000
    assert manifest['rounding']['samples'] == {'images': 8, 'alike': 8}
    assert manifest['speed']['milliseconds'] > 0


def test_the_card_says_where_the_weights_come_from_what_they_can_do_and_their_licences(reader):
    card = (reader / 'card.md').read_text()
    assert '# small\n' in card and 'recog predict small IMAGES' in card
    assert '- code: Apache-2.0\n- weights: Apache-2.0\n- data: formulas of the tests, Apache-2.0\n' in card
    assert '- command: `recog train --config experiments/latex_ocr.py:demo ' in card
    for said in ('- data: formulas:train', '- seed: 0', '- device: 1 x cpu', '- length: 1,500 steps',
                 '- chosen by: formulas:validation', '- commit: 2bb25bb'):
        assert f'\n{said}' in card
    assert TABLE.search(card)[1] == '19' and 'in float32, before they were rounded' in card
    assert '## Known weaknesses\n\nNone were measured.' in card
    assert 'it reads 8 of 8 samples and ' in card


def test_sets_that_are_asked_for_are_measured_with_the_rounded_weights(tmp_path, capsys):
    assert publish(tmp_path / 'new', '--set', 'packed', '--weakness', 'short ones=packed:test') == 2
    assert "'packed:test' is not there" in capsys.readouterr().err and not (tmp_path / 'new').exists()
    assert publish(tmp_path / 'new', '--weakness', 'short ones=packed', '--kind', 'bfloat16') == 0
    card, results = ((tmp_path / 'new' / name).read_text() for name in ('card.md', 'results.json'))
    assert 'Measured with these weights, in bfloat16; ' in card
    measured, weak = card.split('## Known weaknesses')
    assert 'Nothing was measured of these weights.' in measured and '| short ones: packed | ' in weak
    found = json.loads(results)
    assert found['own'] is False and found['sets']['packed']['count'] == 24
    assert 'differences' not in found and sorted(file.name for file in tmp_path.iterdir()) == ['new']


def test_a_reader_reads_with_the_beam_it_was_published_with_unless_another_is_asked_for(tmp_path, capsys):
    assert publish(tmp_path / 'new', '--beam', '3') == 0
    assert published.read_manifest(tmp_path / 'new')['beam'] == 3
    assert 'It searches with a beam of 3; `--beam 1` is faster' in (tmp_path / 'new' / 'card.md').read_text()
    assert [recog.load(tmp_path / 'new', beam=asked).beam for asked in (0, 1)] == [3, 1]
    assert publish(tmp_path / 'other', '--beam', '-1') == 2
    assert '--beam' in capsys.readouterr().err and not (tmp_path / 'other').exists()


def test_what_is_no_workdir_or_published_already_or_has_no_licence_is_refused(reader, tmp_path, capsys):
    place = str(tmp_path / 'a')
    for said, line in (
            ('is a published reader already', ['publish', str(reader), place, *LICENCES]),
            ('is there already and not empty', ['publish', str(RUN), str(reader), *LICENCES]),
            ('does not exist', ['publish', place, place, *LICENCES]),
            ("--weakness 'small' must be TEXT=NAME", ['publish', str(RUN), place, *LICENCES, '--weakness',
                                                      'small']),
            ('--licence-weights must name', ['publish', str(RUN), place, '--licence-weights', ' ',
                                             *LICENCES[2:]]),
            ('holds a published reader, which cannot be trained on', [
                'train', '--workdir', str(reader), '--data', str(DATA), '--devices', '0'])):
        assert command_line.main(line) == 2
        err = capsys.readouterr().err
        assert said in err and err.count('\n') == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('tokens', 'separator', 'said'), [
    (tuple(CHARSETS['36']), '', '36 characters: 0-9 a-z'),
    (('b', 'a', ' ', '-'), '', '4 characters: blank - ab'),
    (('x', r'\frac'), ' ', r'2 tokens of LaTeX: x \frac')])
def test_what_a_reader_writes_is_said_in_a_line(tokens, separator, said):
    assert facts.characters(Vocab(tokens, separator=separator)) == said
