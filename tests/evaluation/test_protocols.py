"""Evaluation: averages as published, protocols, lexicons, and the files that are written."""

import ast
import csv
import json
import re
import subprocess

import cv2
import numpy as np
import pytest
import scipy.io
from builders import load
from small import DEMO, NARROW, ROOT

from recog import prepare
from recog.commands import command_line
from recog.config.test_sets import SETS, SPECIAL, UNION14M, expanded, is_test
from recog.data.sets import open_set
from recog.devices.mesh import one_device
from recog.evaluation import averages, lexicons, measure, protocols, results
from recog.evaluation.averages import Tally
from recog.evaluation.write import table, write_results
from recog.metrics.formulas import formula_figures
from recog.metrics.words import judge, wilson_interval, word_figures
from recog.text import vocabulary
from recog.workdir import provenance

NAMES = ('ic03/860', 'ic03/867', 'ic13/857', 'ic13/1015', 'ic15/1811', 'ic15/2077', 'iiit5k', 'svt', 'svtp',
         'cute80')
# Published accuracies of these sets, and the average that is printed beside them.
MINDOCR = [
    ((93.72, 93.43, 91.83, 90.84, 70.84, 64.95, 84.40, 82.84, 72.87, 67.36), 81.31),  # CRNN VGG7
    ((95.35, 95.27, 93.70, 92.71, 75.65, 69.72, 87.30, 86.09, 78.60, 72.92), 84.73),  # CRNN R34_vd
    ((95.12, 94.57, 94.40, 92.81, 75.43, 69.62, 88.17, 87.33, 78.91, 76.04), 85.24),  # RARE R34_vd, no TPS
]
DTRB = [
    ((93.1, 92.6, 91.1, 89.2, 69.4, 64.2, 82.9, 81.6, 70.0, 65.5), 78.43),  # CRNN
    ((94.9, 94.4, 93.6, 92.3, 77.6, 71.8, 87.9, 87.5, 79.2, 74.0), 84.01),  # TRBA
]


def tallies(accuracies, names=NAMES, whole=False):
    """What was counted where the sets have these accuracies in per cent."""
    right = [accuracy * SETS[name] / 100 for name, accuracy in zip(names, accuracies, strict=True)]
    return {f'{name}:test': Tally(round(count) if whole else count, SETS[name])
            for name, count in zip(names, right, strict=True)}


def values(figures, *more):
    return {each.name: each.value for each in averages.averages(figures, *more)}


@pytest.mark.parametrize('accuracies, printed', MINDOCR)
@pytest.mark.parametrize('whole', [False, True])
def test_mindocrs_mean_of_ten_recomputes(accuracies, printed, whole):
    assert round(100 * values(tallies(accuracies, whole=whole))['MindOCR'], 2) == printed


@pytest.mark.parametrize('accuracies, printed', DTRB)
def test_the_weighted_totals_of_deep_text_recognition_benchmark_recompute(accuracies, printed):
    assert round(100 * values(tallies(accuracies))['deep-text-recognition-benchmark'], 2) == printed


@pytest.mark.parametrize('accuracies, _', MINDOCR + DTRB)
def test_every_average_agrees_with_its_definition_by_hand(accuracies, _):
    found, share = values(tallies(accuracies)), dict(zip(NAMES, accuracies, strict=True))
    size = SETS

    def mean(*names):
        return sum(share[name] for name in names) / len(names) / 100

    def weighted(*names):
        return sum(share[name] * size[name] for name in names) / sum(size[name] for name in names) / 100
    common = ('iiit5k', 'svt', 'svtp', 'cute80')
    by_hand = {
        'MindOCR': mean(*NAMES), 'all ten, weighted': weighted(*NAMES),
        'deep-text-recognition-benchmark': weighted(*common, 'ic03/867', 'ic13/1015', 'ic15/2077'),
        'OpenOCR common': mean(*common, 'ic13/857', 'ic15/1811'),
        'PARSeq, 7,248 images': weighted(*common, 'ic13/857', 'ic15/1811'),
        'PARSeq, 7,672 images': weighted(*common, 'ic13/1015', 'ic15/2077')}
    choices = {f'PaddleOCR with IC03_{a}, IC13_{b}, IC15_{c}':
               mean(*common, f'ic03/{a}', f'ic13/{b}', f'ic15/{c}')
               for a in (860, 867) for b in (857, 1015) for c in (1811, 2077)}
    assert found == pytest.approx({'PaddleOCR': min(choices.values()), **choices, **by_hand}, abs=1e-12)
    whole = averages.averages(tallies(accuracies))[0]
    assert whole.high == pytest.approx(max(choices.values()))
    assert whole.shown() == f'{whole.value:.2%} to {whole.high:.2%}'


def test_the_ten_sets_and_their_totals_are_those_of_the_literature():
    tree = ast.parse((ROOT / 'datasets' / 'benchmarks.py').read_text(encoding='utf-8'))
    tests = next(node.value for node in tree.body
                 if isinstance(node, ast.Assign) and node.targets[0].id == 'TESTS')
    assert ast.literal_eval(tests) == SETS
    others = next(node.value for node in tree.body
                  if isinstance(node, ast.Assign) and node.targets[0].id == 'CHALLENGES')
    assert ast.literal_eval(others) == {**UNION14M, **SPECIAL}
    words = {each.name: each.words() for each in averages.DEFINITIONS if each.weighted}
    for name, total in (('deep-text-recognition-benchmark', '8,539'), ('all ten, weighted', '12,067'),
                        ('PARSeq, 7,248 images', '7,248'), ('PARSeq, 7,672 images', '7,672')):
        assert f': {total} images' in words.pop(name)
    assert not words
    assert len(averages.PADDLE) == 8 and all(len(each.sets) == 7 for each in averages.PADDLE)


def test_an_average_over_incomplete_sets_has_no_value_but_says_what_lacks():
    figures = tallies(MINDOCR[0][0])
    del figures['ic03/860:test']
    figures['svtp:test'] = Tally(300, 640, 4)
    found = {each.name: each for each in averages.averages(figures)}
    assert all(each.value is None for each in found.values())  # all need SVTP
    assert found['MindOCR'].missing == ('IC03_860 missing', 'SVTP incomplete (644 of 645)')
    assert found['OpenOCR common'].shown() == 'not printed: SVTP incomplete (644 of 645)'
    figures['svtp:test'] = Tally(300, 641, 4)  # unreadable images are left out, but the set is complete
    found = {each.name: each for each in averages.averages(figures)}
    assert found['OpenOCR common'].value is not None and found['MindOCR'].missing == ('IC03_860 missing',)
    assert found['deep-text-recognition-benchmark'].value is not None
    # Four of PaddleOCR's choices have a value; their range is not that of the eight.
    choices = [each for name, each in found.items() if name.startswith('PaddleOCR with')]
    assert sum(each.value is not None for each in choices) == 4
    assert found['PaddleOCR'].value is None and found['PaddleOCR'].shown() == 'not printed: IC03_860 missing'


@pytest.mark.parametrize('accuracies, printed', [
    # OpenOCR's own rows: SVTRv2-T, -S and -B, and PARSeq as it was trained again there.
    ((83.6, 76.0, 71.2, 82.4, 77.2, 82.3, 80.7), 79.05), ((88.3, 84.6, 76.5, 84.3, 83.3, 85.4, 83.5), 83.70),
    ((90.6, 89.0, 79.3, 86.1, 86.2, 86.7, 85.1), 86.14), ((87.6, 88.8, 76.5, 83.4, 84.4, 84.3, 84.9), 84.26)])
def test_the_average_of_union14m_recomputes_and_stands_alone_where_none_of_the_ten_was_counted(
        accuracies, printed):
    figures = {f'{name}:test': Tally(share * count / 100, count)
               for (name, count), share in zip(UNION14M.items(), accuracies, strict=True)}
    found = averages.averages({**figures, 'ltb:test': Tally(0, 3376)})
    # They print one digit of each set, and two of the mean.
    assert [each.name for each in found] == ['Union14M'] and 100 * found[0].value == pytest.approx(printed,
                                                                                                  abs=0.02)
    del figures['u14m/general:test']
    assert averages.averages(figures)[0].shown() == 'not printed: U14M_GENERAL missing'
    assert averages.averages({'ost:test': Tally(1, 4832)}) == []


def test_a_part_of_a_set_or_another_split_is_no_test_set():
    figures = tallies(MINDOCR[0][0])
    for name in ('svt:test[:647]', 'svt:train', 'svt_packed'):
        changed = {name if key == 'svt:test' else key: tally for key, tally in figures.items()}
        assert values(changed)['MindOCR'] is None
    assert values({**{key: tally for key, tally in figures.items() if key != 'svt:test'},
                   'svt': figures['svt:test']})['MindOCR']
    assert values({**figures, 'svt': Tally(5, 904)}) == values(figures)
    assert values({'svt': Tally(5, 904), **figures}) == values(figures)
    assert averages.averages({'rendered:test': Tally(5, 10), 'svt:train': Tally(1, 257)}) == []


def test_the_averages_of_ascii_labels_are_of_those():
    plain, as_ascii = tallies(MINDOCR[0][0]), tallies(MINDOCR[1][0])
    mixed, one, other = values(plain, as_ascii), values(plain), values(as_ascii)
    for name in mixed:
        assert mixed[name] == (other if name.startswith('PARSeq') else one)[name]


def test_a_group_of_sets_is_asked_for_by_its_name():
    assert expanded(['benchmarks']) == tuple(f'{name}:test' for name in SETS)
    assert expanded(['mine', 'svt:test', 'benchmarks', 'mine'])[:3] == ('mine', 'svt:test', 'iiit5k:test')
    assert len(expanded(['challenges'])) == 9 and all(map(is_test, ('u14m/curve', 'ltb', 'ost:test')))
    assert len(expanded(['svt:test', 'benchmarks'])) == 10 and 'hme100k:test' in expanded(['maths'])


def result(name, pairs, protocol='36', unreadable=0, **more):
    """A result as `evaluate.measure` makes it of (label, text)."""
    read = [results.Prediction(str(number), name, truth, text, 0.5, *judge(truth, text, protocol), -0.6931,
                               0.9) for number, (truth, text) in enumerate(pairs)]
    truths, texts = zip(*pairs, strict=True) if pairs else ((), ())
    figures = word_figures(truths, texts, protocol)
    if protocol == 'latex':
        figures |= formula_figures(truths, texts)
    left_out = [(f'x{number}', 'is empty') for number in range(unreadable)]
    return results.Result(name, {**figures, 'unreadable': unreadable}, read, left_out, [], **more)


ABOUT = {'model': 'crnn', 'step': 7, 'protocol': '36', 'beam': 1, 'seed': 3, 'config': 'abc',
         'recipe': 'def', 'commit': '123',
         'device': '1 x cpu', 'host': 'a | b', 'command': 'recog evaluate runs/x'}


def test_results_are_written_as_json_csv_and_markdown_and_say_where_they_come_from(tmp_path):
    pairs = [('Café', 'cafe'), ('co-op', 'coop'), ('word', 'worm')] + [('same', 'same')] * 284
    given = [result('cute80:test', pairs, unreadable=1,
                    lexicons={'CUTE80-50': word_figures(*zip(*pairs, strict=True), '36')}),
             result('other', pairs[:3])]
    said = write_results(tmp_path, given, ['svt:test'], ABOUT)
    document = json.loads((tmp_path / 'results.json').read_text(encoding='utf-8'))
    markdown = (tmp_path / 'results.md').read_text(encoding='utf-8')
    assert said in markdown and all(f'- {name}: {value}' in markdown for name, value in ABOUT.items())
    assert {name: document[name] for name in ABOUT} == ABOUT and document['missing'] == ['svt:test']
    cute = document['sets']['cute80:test']
    # é is none of the 36: caf is not cafe.
    assert (cute['count'], cute['right'], cute['unreadable']) == (287, 285, 1)
    assert cute['interval'] == pytest.approx(wilson_interval(285, 287))
    assert cute['unreadable_images'] == [['x0', 'is empty']] and cute['lexicons']['CUTE80-50']['right'] == 285
    assert 'CUTE80 incomplete' not in markdown and 'MindOCR' not in markdown
    assert 'No average of the literature: IIIT5K, SVT, IC03_860, IC13_857, ' in markdown
    assert {each['value'] for each in document['averages']} == {None} and len(document['averages']) == 15
    rows = list(csv.DictReader((tmp_path / 'results.csv').open(encoding='utf-8', newline='')))
    assert [(row['kind'], row['name']) for row in rows[:4]] == [
        ('set', 'cute80:test'), ('lexicon', 'CUTE80-50'), ('set', 'other'), ('set', 'svt:test')]
    assert {(row['protocol'], row['commit'], row['seed'], row['command']) for row in rows} == {
        ('36', '123', '3', 'recog evaluate runs/x')}
    assert rows[3]['note'] == 'missing' and {row['kind'] for row in rows[4:]} == {'average'}
    assert len(rows) == 19
    assert float(rows[0]['low']) == pytest.approx(cute['interval'][0]) and rows[4]['accuracy'] == ''
    lines = (tmp_path / 'predictions.tsv').read_text(encoding='utf-8').splitlines()
    assert len(lines) == 291
    assert lines[1].split('\t') == ['0', 'cute80:test', 'Café', 'cafe', '0.5000', 'wrong', '1', '-0.6931',
                                    '0.9000']


def test_all_ten_sets_give_every_average(tmp_path):
    given = [result(f'{name}:test',
                    [('é', 'e')] + [('A', 'a')] * (count // 2) + [('A', 'b')] * (count - 1 - count // 2))
             for name, count in SETS.items()]
    said = write_results(tmp_path, given, [], ABOUT)
    document = json.loads((tmp_path / 'results.json').read_text())
    assert 'not printed' not in said and said.count('| PaddleOCR') == 9
    found = {each['name']: each['value'] for each in document['averages']}
    assert found['all ten, weighted'] == sum(count // 2 for count in SETS.values()) / 12067
    sets = [name for name in SETS if name.split('/')[-1] not in ('860', '867', '1015', '2077')]
    assert found['PARSeq, 7,248 images'] == sum(SETS[name] // 2 + 1 for name in sets) / 7248  # é is e


def test_formulas_are_written_by_length_and_depth_and_have_no_averages(tmp_path):
    given = [result('crohme/bitmaps:test_2014', [(r'\frac{1}{2}', r'\frac { 1 } { 2 }'), ('x', 'y')],
                    'latex')]
    said = write_results(tmp_path, given, [], {**ABOUT, 'protocol': 'latex'})
    document = json.loads((tmp_path / 'results.json').read_text())
    parts = document['sets']['crohme/bitmaps:test_2014']
    assert parts['by_length']['6-10'] == {'count': 1, 'right': 1, 'accuracy': 1}
    assert parts['by_depth']['0']['accuracy'] == 0
    assert '| 0.00% of 1 | 100.00% of 1 | - | - | - |' in said and '| set | 0 | 1 | 2 | 3 | 4+ |' in said
    assert document['averages'] == [] and 'differences' not in document and '## Averages' not in said


def test_the_words_that_another_protocol_judges_otherwise_are_counted_and_shown():
    pairs = [('Word', 'word'), ("don't", 'dont'), ('same', 'same'), ('Ä1', 'A1'), ('a', 'b'),
             ("Don't", 'dont')]
    words = [protocols.Word('set', str(number), *pair) for number, pair in enumerate(pairs)]
    found = protocols.differences(words, '36')
    assert found.protocols == ('36', '62', '94', '36+nfkd') and found.words == 6
    for (one, other), count in found.counts.items():
        assert count == sum(judge(*pair, one).right != judge(*pair, other).right for pair in pairs)
    assert found.counts == {('36', '62'): 2, ('36', '94'): 3, ('62', '94'): 1, ('36', '36+nfkd'): 1}
    shown = {each.word.truth: each for each in found.examples}
    assert set(shown) == {'Word', "don't", 'Ä1', "Don't"}
    assert shown["Don't"].labels == ('dont', 'Dont', "Don't", 'dont')
    assert shown["Don't"].right == (True, False, False, True)
    assert shown['Ä1'].labels == ('1', '1', '1', 'a1') and shown['Ä1'].right == (False, False, False, True)
    assert '- 62 and 94 judge 1 of 6 words differently' in protocols.described(found)
    row = "| set | 5 | Don't | dont | dont right | Dont wrong | Don't wrong | dont right |"
    assert row in protocols.described(found)
    for protocol in ('94+nfkd', 'exact'):
        assert protocols.differences(words, protocol).protocols[-1] == '94+nfkd'


def test_protocols_are_compared_whose_characters_the_model_has(tmp_path):
    assert protocols.compared('0123456789abcdefghijklmnopqrstuvwxyzñ') == ('36',)
    for able, shown in (('36', ()), ('36 62', ('36 and 62',))):
        said = write_results(tmp_path / able, [result('mine', [('Word', 'word')])], [],
                             {**ABOUT, 'characters': able})
        assert ('## Where the protocol decides' in said) == bool(shown) and '94' not in said
        assert all(f'- {pair} judge 1 of 1 words differently' in said for pair in shown)


def test_few_examples_stand_for_all_kinds_of_differences():
    words = [protocols.Word('set', str(number), 'Word', 'word') for number in range(500)]
    words.append(protocols.Word('set', 'x', "a'", 'a'))
    found = protocols.differences(words, '62')
    assert len(found.examples) == 10 and found.examples[1].word.id == 'x' and found.counts['36', '62'] == 500


def test_a_label_of_which_nothing_is_compared_is_named(tmp_path):
    said = write_results(tmp_path, [result('mine', [('???', ''), ('a', 'a')])], [], ABOUT)
    assert '1 of the labels of mine hold nothing that is compared' in said


def test_a_bar_in_a_label_does_not_break_the_table(tmp_path):
    said = write_results(tmp_path, [result('a|b', [('X|', 'x')])], [], ABOUT)
    assert r'| a\|b | 1 | 1 |' in said and r'| a\|b | 0 | X\| | x |' in said


@pytest.mark.parametrize('text, words, protocol, chosen', [
    ('privat', ['PRIME', 'Private', 'PRIVATE'], '36', 'Private'),
    ('privat', ['PRIME', 'PRIVATE', 'private'], '94', 'private'),
    ('x', ['ab', 'cd'], '36', 'ab'), ('', ['long', 'a', 'b'], '36', 'a'),
    ("can't", ['CANT', "can't"], '36', 'CANT')])
def test_a_lexicon_gives_its_nearest_word_and_of_several_the_first(text, words, protocol, chosen):
    assert lexicons.constrained([text], [words], protocol) == [chosen]


def reader(vocab, texts):
    """A stand-in for a model: it reads these texts, whatever the images show."""
    def decode(variables, batch, longest):
        rows = np.asarray(batch['index'])
        tokens = np.full((len(rows), 25), -1, np.int32)
        for place, row in enumerate(rows):
            ids = vocab.encode(texts[row]).ids if row >= 0 else ()
            tokens[place, :len(ids)] = ids
        return {'tokens': tokens, 'score': np.zeros(len(rows)), 'mean_token': np.ones(len(rows)),
                'index': rows, 'weight': np.asarray(batch['weight'])}
    return decode


def measured(config, name, root, texts):
    vocab, source = vocabulary.from_config(config.text), open_set(name, config, root)
    return measure.measure_set(reader(vocab, texts), {'params': {}, 'stats': {}}, source, vocab, config,
                               one_device())


def test_labels_that_cannot_be_coded_are_wrong_and_only_unreadable_images_are_left_out(narrow, folder):
    labels = [('a.png', 'ab'), ('b.png', 'A-b'), ('c.png', 'ab€'), ('d.png', 'x' * 40), ('e.png', 'ab'),
              ('f.png', 'ñ')]
    root = folder('words', labels, ('e.png',))
    texts = ['ab', 'a-b', 'ab', 'x' * 25, 'ab', 'n']

    def found_by(*changes):
        config = narrow('text.charset=94', 'text.case=keep', 'text.unknown=refuse', *changes)
        return measured(config, 'words', root, texts)
    found = found_by('eval.protocol=94')
    # 94 has neither € nor ñ.
    assert [each.right for each in found.predictions] == [True, False, True, False, False]
    assert found.predictions[4].truth == 'ñ' and found.predictions[4].text == 'n'
    assert (found.figures['count'], found.figures['unreadable']) == (5, 1)
    assert found.unreadable == [('e.png', 'is not an image')]
    exact = found_by('eval.protocol=exact')
    assert [each.right for each in exact.predictions] == [True, False, False, False, False]
    assert [each.right for each in found_by('eval.nfkd=True').predictions] == [True, True, True, False, True]


def write_iiit5k(place, **splits):
    """IIIT5K as it is released, with these words in its splits; lexicons hold two and four others."""
    kind = [(field, object) for field in ('ImgName', 'GroundTruth', 'smallLexi', 'mediumLexi')]
    for split, words in splits.items():
        (place / split).mkdir(parents=True)
        rows = np.zeros((1, len(words)), kind)
        for number, word in enumerate(words):
            lists = [np.array([*(f'W{other}' for other in range(count)), word], object)[None]
                     for count in (2, 4)]
            rows[0, number] = (f'{split}/{number}_1.png', word, *lists)
            cv2.imwrite(str(place / split / f'{number}_1.png'), np.full((12, 30, 3), 40 * number, np.uint8))
        scipy.io.savemat(place / f'{split}data.mat', {f'{split}data': rows})


def test_prepared_lexicons_constrain_what_is_read(narrow, tmp_path):
    write_iiit5k(tmp_path / 'source' / 'IIIT5K', test=['PRIVATE', 'X'], train=['You'])
    assert prepare.main(load('benchmarks').Benchmarks,
                        ['--source', str(tmp_path / 'source'), '--data', str(tmp_path / 'data'),
                                                        '--only', 'iiit5k', '--workers', '1']) == 0
    found = measured(narrow(), 'iiit5k:test', tmp_path / 'data', ['privat', 'privat'])
    assert found.figures['right'] == 0 and list(found.lexicons) == ['IIIT5K-50', 'IIIT5K-1k']
    assert [figures['right'] for figures in found.lexicons.values()] == [1, 1]
    assert table([found], []).splitlines()[3].startswith('| IIIT5K-50 | 2 | 1 | 50.00% |')
    source = open_set('iiit5k:test', narrow(), tmp_path / 'data')
    assert source.extras([1, 0], ('lexicon_1k', 'id', 'absent')) == [
        {'lexicon_1k': 'W0\nW1\nW2\nW3\nX', 'id': 'test/1_1.png'},
        {'lexicon_1k': 'W0\nW1\nW2\nW3\nPRIVATE', 'id': 'test/0_1.png'}]


def test_a_recipe_is_the_same_for_all_seeds_and_nothing_else(narrow):
    own = provenance.recipe(narrow())
    for change in ('seed=7', 'seeds.data=3', 'eval.report=words', 'eval.batch=5'):
        assert provenance.recipe(narrow(change)) == own
    for change in ('eval.beam=5', 'model.lstm_hidden=9', 'data.train=words', 'optimizer.rate=0.5'):
        assert provenance.recipe(narrow(change)) != own


def test_the_commit_is_that_of_the_checkout_and_says_whether_it_was_changed(tmp_path):
    def git(*arguments):
        line = ['git', '-C', str(tmp_path / 'here'), '-c', 'user.name=n', '-c', 'user.email=n@n', *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    code = tmp_path / 'here' / 'recog' / 'a.py'
    code.parent.mkdir(parents=True)
    assert provenance.commit(tmp_path / 'here') == 'unknown'
    code.write_text('a = 1\n')
    git('init', '-q')
    git('add', '.')
    git('commit', '-qm', 'first')
    assert provenance.commit(tmp_path / 'here') == git('rev-parse', 'HEAD')
    # Installed inside of somebody's checkout.
    assert provenance.commit(tmp_path / 'here' / 'recog') == 'unknown'
    (tmp_path / 'here' / 'runs').mkdir()
    (tmp_path / 'here' / 'runs' / 'log').touch()
    assert not provenance.commit(tmp_path / 'here').endswith('+dirty')
    code.write_text('a = 2\n')
    assert provenance.commit(tmp_path / 'here') == git('rev-parse', 'HEAD') + '+dirty'
    assert provenance.host()


def test_the_command_measures_the_benchmarks_that_are_there_and_lists_the_others(folder, tmp_path, capsys):
    root = folder('svt/test', [('a.png', 'Café'), ('b.png', 'x')])
    line = ['--data', str(root), '--devices', '0']
    assert command_line.main(['train', '--config', DEMO, '--workdir', str(tmp_path / 'run'), *line, *NARROW,
                              '--config.render.count=64', '--config.train.length=2 steps',
                              '--config.eval.report=svt:test']) == 0
    assert command_line.main(['evaluate', str(tmp_path / 'run'), *line, '--set', 'benchmarks',
                              '--protocol', '94', '--nfkd', '--out', str(tmp_path / 'out')]) == 0
    out = capsys.readouterr().out
    assert 'Protocol 94+nfkd' in out and 'SVT incomplete (2 of 647)' in out
    assert re.search('^cute80:test +missing$', out, re.M)
    document = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert document['protocol'] == '94+nfkd' and len(document['missing']) == 9
    assert list(document['sets']) == ['svt:test']
    assert {'commit', 'recipe', 'config', 'seed', 'device', 'host', 'command'} <= set(document)
    assert command_line.main(['evaluate', str(tmp_path / 'run'), *line, '--set', 'svt:test',
                              '--max-length', '5']) == 0
    held = json.loads((tmp_path / 'run' / 'results.json').read_text())
    assert held['own'] and held['max length'] == 25
    assert [(each['own'], each['max length'], list(each['sets'])) for each in held['more']] == [
        (False, 5, ['svt:test'])]
    (tmp_path / 'out' / 'results.json').write_text(json.dumps({**document, 'run': 'another'}))
    for arguments, message in ((['--nfkd', '--protocol', 'latex'], 'compares tokens'),
                               (['--out', str(tmp_path / 'out')], 'out holds the results of another run'),
                               (['--set', 'benchmark'], 'is not there')):
        assert command_line.main(['evaluate', str(tmp_path / 'run'), *line, *arguments]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count('\n') == 1
