"""The report: its figures, checked by hand, and the page of a small run, parsed as a browser would."""

import argparse
import csv
import html.parser
import json
import math
import re
import shutil
import xml.etree.ElementTree

import cv2
import jax
import numpy as np
import pytest
from narrow_models import NARROW as NARROW_MODELS
from narrow_models import slowly
from small import DEMO, NARROW

from recog import models
from recog.commands import command_line
from recog.commands import report as report_command
from recog.config import experiments, recipe
from recog.devices.mesh import one_device
from recog.errors import ConfigError
from recog.evaluation import measure
from recog.evaluation.write import write_results
from recog.looks import charts as looks
from recog.looks import markup
from recog.metrics.words import word_figures
from recog.report import (
    calibration,
    charts,
    examples,
    gallery,
    groups,
    looked,
    maps,
    record,
    robustness,
    sections,
    tallies,
)
from recog.report.record import Judged
from recog.text.vocabulary import Vocab
from recog.workdir.opened import Opened

SECTIONS = ['samples', 'results', 'mistakes', 'suspects', 'groups', 'length', 'calibration', 'robustness',
            'confusion', 'attention', 'features', 'curves', 'speed', 'run']
HOSTILE = '<script>alert("1")</script>&$x_'
NETWORK = re.compile(r'(?:src|href|action|data|poster)\s*=\s*["\']?\s*(?:https?:)?//'
                     r'|url\(\s*["\']?(?:https?:)?//|@import', re.I)


class Page(html.parser.HTMLParser):
    """The content of a page: sections, links, pictures, text, and whether every element is closed."""

    VOID = ('meta', 'img', 'path', 'use', 'image', 'rect', 'br', 'stop')

    def __init__(self, text):
        super().__init__()
        self.sections, self.links, self.open, self.ids, self.words = [], [], [], [], []
        self.images, self.tags = 0, set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.tags.add(tag)
        self.ids += [facts['id']] if 'id' in facts else []
        self.images += tag == 'img'
        self.links += [facts['href']] if tag == 'a' else []
        if tag == 'section':
            self.sections.append(facts['id'])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        self.ids += [value for name, value in attributes if name == 'id']

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return ''.join(self.words)


def example(truth, text, confidence=0.5, place=0):
    return Judged('words', place, f'{place}.png', truth, text, confidence, truth == text, tuple(truth),
                   tuple(text))


def arguments(workdir, **given):
    usual = {'set': '', 'step': None, 'out': '', 'data': str(workdir.parent / 'data'), 'devices': '0'}
    return argparse.Namespace(workdir=str(workdir), **usual | given)


def made(workdir, capsys, **given):
    """The page that is written for a workdir, by the path that is printed."""
    capsys.readouterr()
    assert report_command.run(arguments(workdir, **given)) == 0
    file = capsys.readouterr().out.strip()
    with open(file, encoding='utf-8') as opened:
        return opened.read()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A narrow demo of four steps, measured on twenty rendered words of a folder,
    one of them with a hostile label."""
    from recog.data.drawn.words import Words

    root = tmp_path_factory.mktemp('report')
    words = root / 'data' / 'words'
    words.mkdir(parents=True)
    with (words / 'labels.tsv').open('w') as labels:
        for number, row in enumerate(Words(experiments.load(DEMO).render, 'test', seed=0).rows(range(20))):
            cv2.imwrite(str(words / f'{number}.png'), row.image)
            labels.write(f'{number}.png\t{HOSTILE if number == 0 else row.text}\n')
    folder = root / 'demo'
    assert command_line.main(['train', '--config', DEMO, '--workdir', str(folder), '--data',
                              str(root / 'data'), '--devices', '0',
                         *NARROW, '--config.eval.report=words', '--config.render.count=64']) == 0
    return folder


@pytest.fixture
def workdir(trained, tmp_path, monkeypatch):
    """A copy of that run, beside its data, for a test to change;
    its page shows as few pictures as there may be."""
    for name in ('EXPLAINED', 'RIGHT', 'SAMPLES'):
        monkeypatch.setattr(examples, name, 1)
    shutil.copytree(trained, tmp_path / 'demo')
    shutil.copytree(trained.parent / 'data', tmp_path / 'data')
    return tmp_path / 'demo'


@pytest.fixture
def empty_charts(monkeypatch):
    """Charts take most of the time of a page; here they show nothing."""
    for module, name in ((looks, 'curves'), (charts, 'bars'), (charts, 'reliability'), (charts, 'confusion')):
        monkeypatch.setattr(module, name, lambda *_: looks.figure(1, 1))


def rewrite(workdir, change):
    """Change the rows of predictions.tsv."""
    file = workdir / 'predictions.tsv'
    with file.open(encoding='utf-8', newline='') as lines:
        rows = list(csv.DictReader(lines, delimiter='\t'))
    with file.open('w', encoding='utf-8', newline='') as lines:
        out = csv.DictWriter(lines, measure.Prediction._fields, delimiter='\t', lineterminator='\n')
        out.writeheader()
        out.writerows(change(rows))


def all_right(rows):
    return [row | {'text': row['truth'], 'right': 'right', 'distance': '0'} for row in rows]


def test_an_alignment_counts_what_was_replaced_left_out_and_made_up():
    found = tallies.pairs([example('abc', 'axc'), example('ab', 'a'), example('a', 'ab'), example('', '')])
    assert found == {('a', 'a'): 3, ('c', 'c'): 1, ('b', 'x'): 1, ('b', tallies.NOTHING): 1,
                     (tallies.NOTHING, 'b'): 1}
    often = tallies.confused(found, 2)
    assert often == [('b', 'nothing', 1, 0.5), ('b', 'x', 1, 0.5)]


def test_a_matrix_has_every_pair_once_and_the_rare_tokens_of_formulas_together():
    found = tallies.pairs([example(['x'] * 5 + [f'\\t{number}' for number in range(40)],
                                   ['y'] * 5 + ['z'] * 40)])
    whole = tallies.matrix(found, True)
    assert len(whole.names) == tallies.MOST_TOKENS + 2 and whole.names[-2:] == ['other', 'nothing']
    assert whole.counts.sum() == 45 and whole.names[0] == 'z' and whole.names[1:3] == ['x', 'y']
    assert tallies.matrix(tallies.pairs([example('ba', 'ab')]), False).names == ['a', 'b', 'nothing']


def test_lengths_stand_for_themselves_until_they_are_many():
    few = tallies.by_length([example('abc', 'abc'), example('abc', 'x'), example('', 'x')])
    assert [(each.label, each.total, each.right) for each in few] == [('0', 1, 0), ('3', 2, 1)]
    many = tallies.by_length([example('a' * count, '') for count in (3, 7, 200)])
    assert [each.label for each in many] == ['1–5', '6–10', '81–200']
    assert tallies.by_length([]) == []


def test_bins_of_confidence_have_equal_widths():
    sure, unsure = [example('a', 'a', 1.0), example('a', 'b', 0.95)], [example('a', 'a', 0.25)] * 2
    bins = tallies.by_confidence(sure + unsure)
    assert [each.total for each in bins] == [0, 0, 2, 0, 0, 0, 0, 0, 0, 2]


def test_predictions_without_a_probability_are_not_held_against_the_accuracy(tmp_path):
    older = record.Record('x', None, {}, {}, [], [], [example('a', 'b', math.nan)], '36', [])
    section = calibration.calibration(older, looks.Album(tmp_path))
    assert calibration.OLDER in section.body and not list(tmp_path.iterdir())


def test_confidences_are_drawn_before_and_after_they_were_fitted(tmp_path):
    scored = [example('a', text, 0.5)._replace(score=-1.0) for text in 'ab' * 5]
    fitted = {'temperature': 2.0, 'count': 8, 'sets': ['words'], 'held_out': 0.1875,
              'before': {'ece': 0.25}, 'after': {'ece': 0.125}}
    found = record.Record('x', None, {}, {}, [], [], scored, '36', calibration=fitted)
    section = calibration.calibration(found, looks.Album(tmp_path))
    assert {file.name for file in tmp_path.glob('*.png')} == {'calibration.png', 'calibration-before.png'}
    for said in ('0.2500 to 0.1250', f'mean confidence {math.exp(-1):.4f}', f'{math.exp(-0.5):.4f}',
                 '<td>10</td><td>100.00%</td><td>50.00%</td>'):
        assert said in section.body


def test_corrupted_images_have_a_chart_and_a_table_for_each_set(tmp_path):
    measured = {'set': 'words', 'count': 10, 'clean': 9, 'protocol': '36', 'step': 4,
                'corruptions': {'size': [8, 6, 4, 2, 0], 'contrast': [9, 9, 9, 9, 9]}}
    two = [measured, {**measured, 'set': 'b'}]
    found = record.Record('x', None, {}, {}, [], [], [], '36', robustness=two)
    section = robustness.corrupted(found, looks.Album(tmp_path))
    assert {file.name for file in tmp_path.glob('*.svg')} == {'robustness-1.svg', 'robustness-2.svg'}
    assert '65.00% in the mean' in section.body and 'words: step 4, protocol 36' in section.body
    assert section.body.index('>size<') < section.body.index('>contrast<')
    unmeasured = robustness.corrupted(found._replace(robustness=()), looks.Album(tmp_path))
    assert robustness.NOT_MEASURED in unmeasured.body


def test_charts_are_files_and_parts_of_the_page(tmp_path):
    album = looks.Album(tmp_path)
    matrix = tallies.matrix(tallies.pairs([example(HOSTILE, 'abc'), example('a b', 'a\tb')]), False)
    drawn = album.chart('confusion', f'of {HOSTILE}', charts.confusion, matrix)
    again = looks.Album(tmp_path / 'again').chart('confusion', f'of {HOSTILE}', charts.confusion, matrix)
    assert drawn == again and 'currentColor' in drawn and looks.PAPER not in drawn and '<!--' not in drawn
    assert (tmp_path / 'confusion.png').stat().st_size and not NETWORK.search(drawn)
    assert '<script' not in drawn
    assert xml.etree.ElementTree.parse(tmp_path / 'confusion.svg').getroot().tag.endswith('svg')
    assert (tmp_path / 'confusion.svg').read_bytes() == (tmp_path / 'again' / 'confusion.svg').read_bytes()


def test_the_page_holds_every_section_asks_the_network_nothing_and_is_always_the_same(
        workdir, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(examples, 'EXPLAINED', 2)
    text = made(workdir, capsys)
    parsed = Page(text)
    assert parsed.sections == SECTIONS and parsed.open == []
    assert parsed.links == [f'#{name}' for name in SECTIONS]
    assert len(parsed.ids) == len(set(parsed.ids))
    assert not NETWORK.search(text) and not parsed.tags & {'script', 'link', 'iframe', 'object'}
    assert 'alert("1")' in parsed.text and '<script' not in text
    files = {file.name for file in (workdir / 'report').iterdir()}
    assert {'confusion.svg', 'confusion.png', 'curve-loss.svg', 'calibration.png', 'confident-1.png',
            'worst-1-read.png', 'features-1-backbone.png', 'length.svg'} <= files
    facts = json.loads((workdir / 'results.json').read_text())
    assert all(str(value) in parsed.text for value in facts.values() if isinstance(value, (str, int)))
    assert parsed.images >= sum(name.endswith('.png') for name in files) - sum(name.endswith('.svg')
                                                                               for name in files)
    assert made(workdir, capsys, out=str(tmp_path / 'elsewhere' / 'page.html')) == text
    assert (tmp_path / 'elsewhere' / 'page' / 'confusion.svg').is_file()


def test_a_run_without_mistakes_has_a_page(workdir, capsys):
    rewrite(workdir, all_right)
    parsed = Page(made(workdir, capsys))
    assert parsed.sections == SECTIONS and 'There is no mistake among 20 examples.' in parsed.text
    assert 'No character was read as another.' in parsed.text
    assert (workdir / 'report' / 'right-1-read.png').is_file()


def test_a_single_example_and_no_log_are_enough(workdir, capsys):
    (workdir / 'metrics.jsonl').unlink()
    rewrite(workdir, lambda rows: rows[:1])
    parsed = Page(made(workdir, capsys))
    assert parsed.sections == SECTIONS and 'has no metrics.jsonl' in parsed.text
    assert 'bdi' in parsed.tags and (workdir / 'report' / 'features-1-backbone.png').is_file()


def test_a_run_that_was_not_evaluated_has_a_page_of_what_there_is(workdir, capsys, empty_charts):
    for name in ('results.json', 'predictions.tsv'):
        (workdir / name).unlink()
    parsed = Page(made(workdir, capsys))
    assert parsed.sections == SECTIONS and 'recog evaluate does that' in parsed.text
    assert (workdir / 'report' / 'sample-1-read.png').is_file()


def test_sets_that_are_not_there_or_have_changed_are_named_and_the_rest_is_made(
        workdir, capsys, empty_charts):
    parsed = Page(made(workdir, capsys, data=str(workdir / 'nowhere')))
    assert parsed.sections == SECTIONS and "set 'words' is not there" in parsed.text and parsed.images == 0
    labels = workdir.parent / 'data' / 'words' / 'labels.tsv'
    labels.write_text(labels.read_text().replace('.png\t', '.png\tother'))
    assert "set 'words' is not what it was when it was measured" in Page(made(workdir, capsys)).text


def test_without_a_checkpoint_the_page_says_so(workdir, capsys, empty_charts):
    shutil.rmtree(workdir / 'checkpoints')
    parsed = Page(made(workdir, capsys))
    assert parsed.sections == SECTIONS and 'holds no checkpoint yet' in parsed.text and parsed.images > 0


def test_images_behind_unreadable_ones_are_found_and_a_step_that_is_gone_is_named(
        workdir, capsys, empty_charts):
    rewrite(workdir, lambda rows: rows[1:])
    results = json.loads((workdir / 'results.json').read_text())
    results['sets']['words'] |= {'unreadable': 1, 'unreadable_images': [['0.png', 'is <broken>']]}
    (workdir / 'results.json').write_text(json.dumps(results | {'step': 77}))
    parsed = Page(made(workdir, capsys))
    assert 'What was measured cannot be opened: --step 77' in parsed.text
    assert 'weights shown belowstep' in parsed.text
    assert parsed.images and 'is not what it was' not in parsed.text and 'is <broken>' in parsed.text


def test_one_set_of_several_can_be_asked_for(workdir, capsys, empty_charts):
    rewrite(workdir, lambda rows: rows + [row | {'set': 'more'} for row in all_right(rows)])
    parsed = Page(made(workdir, capsys, set='more', step=2))
    assert 'among 20 examples' in parsed.text
    assert 'results are those of step 4; step 2 has read' in parsed.text
    with pytest.raises(ConfigError,
                       match=r"--set 'word' is not in .*predictions.tsv \(did you mean 'words'\?\)"):
        report_command.run(arguments(workdir, set='word'))
    with pytest.raises(ConfigError, match=r'--step 77: .* holds steps 2, 4'):
        report_command.run(arguments(workdir, step=77))
    with pytest.raises(ConfigError, match=r'--out page.pdf must be a file that ends in .html'):
        report_command.run(arguments(workdir, out='page.pdf'))


@pytest.mark.parametrize('name', slowly(models.names(), {*models.names()} - {'can', 'crnn', 'rare'}))
def test_every_model_shows_its_maps(name, folder, tmp_path):
    own, image = NARROW_MODELS[name]
    config = recipe.base(name=name, **own)
    config.image.update(image)
    vocab = Vocab(tuple('012345'))
    model = models.build(config, vocab)
    random, shapes = np.random.default_rng(0), jax.eval_shape(model.init, jax.random.key(0))
    variables = jax.tree.map(lambda leaf: random.random(leaf.shape, np.float32) / 4, shapes)
    given = {'workdir': tmp_path, 'config': config, 'vocab': vocab, 'model': model, 'variables': variables}
    opened = Opened(**dict.fromkeys(Opened._fields, '') | given)
    pictures = gallery.Gallery(config, folder('words', [('a.png', '012')]), {})
    album = looks.Album(tmp_path / 'pictures')
    shown = examples.Shown([], [], [], pictures.pictured(pictures.first(['absent', 'words'], 1)))
    shown = examples.readings(opened, shown, 1, one_device())
    explainer = looked.Explainer(opened, album)
    found = record.Record('run', config, {}, {}, [], [], [], '36')
    parts = [looked.features(shown.samples, pictures, opened, album),
             looked.attention(found, shown.right, shown.samples, pictures, explainer)]
    files = {file.name for file in album.folder.iterdir()}
    assert {'features-1-backbone.png', 'sample-1-read.png'} <= files
    explained = parts[1].body
    places = explained.partition('class="tokens"')[2].partition('<details>')[0]
    assert explained.count('<img') == places.count('<img') + 1
    read = (shown.samples[0].reading.details['tokens'] >= 0).sum()
    assert places.count('<figure>') == places.count('<img') == min(read, looked.MOST_TOKENS)
    assert parts[0].body.count('<svg') == sum(name.endswith('.svg') for name in files)


def test_results_hold_every_figure_lexicons_averages_and_depths():
    plain = {'count': 4, 'right': 3, 'accuracy': 0.75, 'one_minus_ned': 0.9}
    best = plain | {'right': 4, 'accuracy': 1.0}
    sets = {'iiit5k': {**plain, 'unreadable': 1, 'invented': 2.5, 'lexicons': {'IIIT5K-50': best},
                       'by_depth': {'0': plain, '1': plain | {'count': 0}}}}
    averages = [{'name': 'one', 'definition': 'of <all>', 'value': 0.5, 'high': 0.75, 'missing': []},
                {'name': 'two', 'definition': '', 'value': None, 'high': None, 'missing': ['svt', 'cute80']}]
    found = record.Record('run', recipe.base(name='crnn'), {'averages': averages}, sets, ['svt'], [], [],
                          '36')
    words = Page(sections.results(found).body).text
    assert all(each in words for each in ('75.00%', '30.06% to 95.44%', 'invented', '2.5000', 'IIIT5K-50',
                                          '100.00%', 'missing',
                                          '50.00% to 75.00%', 'of <all>', 'cannot be computed: svt, cute80.',
                                          '75.00% of 4'))


def test_maps_lie_over_the_image_without_its_padding():
    details = {'image': np.zeros((32, 100, 3), np.uint8), 'size': np.array([32, 58])}
    cut = maps._cut(details, {'backbone': np.zeros((1, 25, 8))}, 'backbone', True)
    assert cut.image.shape == (32, 58, 3) and cut.maps.shape == (1, 15, 8)
    assert cut.region == (-0.5, 59.5, 31.5, -0.5)
    stages = {'backbone': np.zeros((1, 25, 8)), 'rectified': np.zeros((32, 100, 3))}
    whole = maps._cut(details, stages, 'backbone', True)
    assert whole.image.shape == (32, 100) and whole.maps.shape == (1, 25, 8)
    assert whole.region == (-0.5, 99.5, 31.5, -0.5)


def test_what_was_measured_in_other_ways_is_told_and_shown_where_its_set_or_step_is_asked_for(tmp_path):
    def measured(name, pairs, own, **about):
        read = [measure.Prediction(str(number), name, *pair, 0.5, pair[0] == pair[1], 1)
                for number, pair in enumerate(pairs)]
        figures = {**word_figures(*zip(*pairs, strict=True), '36'), 'unreadable': 0}
        write_results(tmp_path, [measure.Result(name, figures, read, [], [])], [],
                      {'protocol': '36', 'seed': 0, 'step': 4, 'beam': 1, **about}, own)

    measured('words', [('a', 'a'), ('b', 'b')], True)
    measured('more', [('a', 'a'), ('b', 'c')], False)
    measured('words', [('a', 'c'), ('b', 'c')], False, beam=5)
    measured('others', [('x', 'x')], False, step=2)

    def read(*given):
        found = record.read(tmp_path, 'run', recipe.base(name='crnn'), *given)
        return found, {name: figures['right'] for name, figures in found.sets.items()}
    found, right = read()
    assert right == {'words': 2, 'more': 1} and [each.text for each in found.examples] == ['a', 'b', 'a', 'c']
    assert (found.facts['step'], found.facts['beam']) == (4, 1)
    text = Page(sections.results(found).body).text
    assert 'Also measured: step 4, protocol 36, beam 5' in text and 'Also measured: step 2' in text
    assert read(['others'])[1] == {'others': 1} and read([], 2)[0].facts['step'] == 2
    assert read(['words'], 2)[0].facts['step'] == 4
    with pytest.raises(ConfigError, match='there are: words, more, others$'):
        read(['word'])


def test_the_worst_mistakes_have_most_edits_and_of_these_the_longest_words_come_first(monkeypatch):
    given = [example('ab', 'ax', 0.9), example('abcdef', 'abxyef', 0.1), example('abcd', 'xycd', 0.2),
             example('abc', 'abc'), example('abcdefgh', 'xbcdefgh', 0.3)]
    found = record.Record('run', recipe.base(name='crnn'), {}, {}, [], [], given, '36')
    shown = examples.choose(found, argparse.Namespace(pictured=lambda group: group, absent={}))
    assert [each.truth for each in shown.worst] == ['abcdef', 'abcd', 'abcdefgh', 'ab']
    assert [each.truth for each in shown.confident][0] == 'ab' and len(shown.overview) == 5


def test_examples_are_parted_by_kind_height_and_what_training_had(folder):
    given = [example('12', '12'), example('ab', 'ax'), example('a1', 'a1'), example('cd', 'cd')]
    kinds = groups.by_kind(given, groups.WORDS)
    assert [(each.label, each.total, each.right) for each in kinds] == [
        ('digits alone', 1, 1), ('letters alone', 2, 1), ('digits and letters', 1, 1)]
    heights = groups.by_height(list(zip(given, (15, 16, 31, 999), strict=True)))
    assert {each.label: each.total for each in heights} == {'0–15': 1, '16–23': 1, '24–31': 1, '256+': 1}
    config = recipe.base(name='crnn')
    config.data.train = ('words', 'rendered:train')
    root = folder('words', [('a.png', 'AB'), ('b.png', 'zz')])
    known, why = groups.trained(config, root, '36')
    assert known == {'ab', 'zz'} and not why
    assert [(each.total, each.right) for each in groups.by_known(given, known, '36')] == [(1, 0), (3, 3)]
    config.data.train = ('nowhere',)
    assert "'nowhere' is not there" in groups.trained(config, root, '36')[1]
    config.data.train = ('rendered:train',)
    assert 'without end' in groups.trained(config, root, '36')[1]


def test_averages_that_cannot_be_computed_take_one_line():
    averages = [{'name': f'number {place}', 'definition': 'long ' * 50, 'value': None, 'high': None,
                 'missing': ['SVT missing']} for place in range(15)]
    figures = {'words': {'count': 1, 'right': 1, 'accuracy': 1.0}}
    found = record.Record('run', recipe.base(name='crnn'), {'averages': averages}, figures, [], [], [], '36')
    words = Page(sections.results(found).body).text
    assert words.count('SVT missing') == 1 and 'number 3' not in words and 'long' not in words


def test_what_differs_is_marked():
    truth, text = examples.marked(example('a<c', 'axc'), '')
    assert truth == '<bdi><span>a</span><mark>&lt;</mark><span>c</span></bdi>' and '<mark>x</mark>' in text
    assert '(nothing)' in examples.marked(example('a', ''), '')[1]
    formula = Judged('s', 0, 'i', '', '', 0.5, False, ('x', '^', '2'), ('x', '_', '2'))
    truth = markup.safe(examples.marked(formula, ' ')[0])
    assert truth == '<bdi><span>x</span> <mark>^</mark> <span>2</span></bdi>'


def test_a_log_that_was_cut_off_is_read_up_to_there(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    found = record.read(tmp_path, 'run', recipe.base(name='crnn'))
    assert found.lines == [{'step': 1, 'loss': 2.0}] and found.examples == [] and found.sets == {}


def test_large_images_of_any_kind_are_made_small_for_the_page():
    assert examples._smaller(np.zeros((1200, 300), np.uint8)).shape == (600, 150)
    assert examples._smaller(np.zeros((20, 30, 3), np.uint8)).shape == (20, 30, 3)


def test_what_cannot_be_read_is_named_on_the_page_and_beside_it_and_the_rest_is_shown(
        workdir, capsys, empty_charts):
    with (workdir / 'metrics.jsonl').open('ab') as log:
        log.write(b'{"step": 9, "loss": "x"}\n\xff\n')
    rewrite(workdir, lambda rows: [rows[0] | {'confidence': 'x'}, *rows[1:]])
    results = json.loads((workdir / 'results.json').read_text())
    (workdir / 'results.json').write_text(json.dumps(results | {'averages': 7}))
    assert report_command.run(arguments(workdir)) == 0
    said, page = capsys.readouterr().err, Page((workdir / 'report.html').read_text())
    for each in ('metrics.jsonl: 2 lines cannot be read', 'predictions.tsv: 1 lines cannot be read',
                 'results.json: what it holds of averages cannot be read'):
        assert each in said and each in page.text
    assert page.sections == SECTIONS and '19 examples' in page.text
