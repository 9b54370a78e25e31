"""Words as signs and photographs have them: numbers, punctuation, short words, crops, few pixels."""

import re

import numpy as np
import pytest

from recog.config.recipe import base
from recog.data.drawn import codes, scene
from recog.data.drawn.dice import Dice, split_of
from recog.data.drawn.fonts import fonts
from recog.data.drawn.words import Words
from recog.errors import ConfigError


def source(split='train', **fields):
    rule = base().render
    rule.update(fields)
    return Words(rule, split, seed=0)


def texts(count=2000, **fields):
    return [text for _, text in source(**fields).labels(range(count))]


def word_list(folder, name, words):
    (folder / name).write_text('\n'.join(words), encoding='utf-8')
    return str(folder / name)


def some_words(start, count=400):
    """Words of four letters, of all splits."""
    letters = codes.LETTERS
    return [f'{start}{letters[number % 26]}{letters[number // 26 % 26]}' for number in range(count)]


def test_words_in_photographs_depend_on_their_index_alone_and_have_the_labels_of_their_rows():
    words = source(scene=1.0, codes=0.3, marks=0.3)
    together = words.rows(range(70))
    assert [(row.id, row.text) for row in together] == words.labels(range(70))
    assert all(np.array_equal(words.rows([place])[0].image, together[place].image) for place in (0, 33, 69))


def test_photographs_have_fewer_pixels_and_other_shapes_than_words_drawn_alone():
    alone, photographs = (source(scene=share).rows(range(200)) for share in (0.0, 1.0))
    low = [sum(row.image.shape[0] < 24 for row in rows) for rows in (alone, photographs)]
    assert low[0] == 0 and 30 < low[1] < 120
    assert all(min(row.image.shape[:2]) >= 6 and row.image.shape[2] == 3 for row in photographs)


def test_a_third_of_the_words_in_photographs_has_a_neighbour_and_the_word_stays_where_it_is():
    layers = [np.full((20, 60), 255, np.uint8)]
    moved = 0
    for number in range(300):
        found, box = scene.surrounded(layers, Dice(number), fonts('')[0])
        assert (found[0][box.top:box.top + box.tall, box.left:box.left + box.wide] == 255).all()
        moved += int(found[0].sum() > layers[0].sum())
    assert 60 < moved < 130


def test_letters_that_stand_out_have_sides_behind_them_and_worn_ones_are_fainter_in_places():
    letters = np.zeros((30, 80), np.uint8)
    letters[5:25, 10:70] = 255
    sides, worn = 0, 0
    for number in range(300):
        found, extra = scene.crafted([letters], '', Dice(number))
        assert (extra == 'sides') == (len(found) == 2)
        if extra:
            behind, front = found[0].astype(int), found[1].astype(int)
            assert (behind >= front).all() and behind.sum() > front.sum()
        ink = found[-1][found[-1] > 0]
        sides, worn = sides + len(found) - 1, worn + int(ink.min() < 250)
    assert 35 < sides < 90 and 20 < worn < 75
    bordered = [letters, letters]
    assert all(len(scene.crafted(bordered, 'border', Dice(number))[0]) == 2 for number in range(100))


def test_signs_have_names_of_two_words_and_web_addresses(tmp_path):
    listed = word_list(tmp_path, 'd.txt', some_words('ab'))
    signs, plain = texts(words=listed, scene=1.0), texts(words=listed)
    names = [text for text in signs if re.fullmatch(r'[A-Z][a-z]+([A-Z][a-z]+|[A-Z]{3,})', text)]
    addresses = [text for text in signs if re.fullmatch(r'(www\.)?[a-z]+\.[a-z.]+', text)]
    assert 40 < len(names) < 130 and 20 < len(addresses) < 75
    assert not any('.' in text or re.search('[a-z][A-Z]', text) for text in plain)


def test_numbers_codes_and_single_letters_have_their_share():
    plain, mixed = texts(codes=0.0, letters=(5, 9)), texts(codes=0.4, letters=(5, 9))
    assert not any(len(text) < 4 for text in plain)
    short = sum(len(text) < 4 for text in mixed) / len(mixed)
    assert 0.1 < short < 0.3 and any(text.isdigit() and len(text) == 8 for text in mixed)
    assert {'A', '1'} & set(mixed)


def test_punctuation_has_its_share_and_stands_in_labels():
    marked = [text for text in texts(marks=0.25) if not text.isalnum()]
    assert 0.2 < len(marked) / 2000 < 0.3
    forms = r'\$\d', r'\d%$', r'\w[.,!]$', r'^\('
    assert all(any(re.search(form, text) for text in marked) for form in forms)


def test_codes_keep_to_their_split():
    assert {split_of(text) for text in texts(300, split='validation', codes=1.0)} == {'validation'}


def test_of_several_lists_each_has_its_share_and_short_words_come_more_often_in_photographs(tmp_path):
    both = ','.join((word_list(tmp_path, 'a.txt', some_words('ab')),
                     word_list(tmp_path, 'b.txt', some_words('abracadabra', 40))))
    plain, signs = texts(words=both), texts(words=both, scene=1.0)
    long = [sum(len(text) > 10 for text in found) / len(found) for found in (plain, signs)]
    assert 0.45 < long[0] < 0.55
    # A list is chosen first: within it all are long, so its share stays.
    assert 0.45 < long[1] < 0.55
    one = word_list(tmp_path, 'c.txt', some_words('ab') + some_words('abracadabra'))
    plain, signs = texts(words=one), texts(words=one, scene=1.0)
    assert sum(len(text) > 10 for text in signs) < 0.3 * sum(len(text) > 10 for text in plain)


def test_a_list_of_fonts_is_read_as_it_stands(tmp_path):
    first, second = fonts('')[:2]
    listed = word_list(tmp_path, 'fonts.tsv', ['# path, package', f'{first}\tmatplotlib', second])
    assert fonts(listed)[-2:] == (first, second)


def test_a_list_with_fonts_that_are_not_here_is_refused_with_their_packages(tmp_path):
    listed = word_list(tmp_path, 'fonts.tsv', [f'{fonts("")[0]}\tmatplotlib',
                                                 '/none/a.ttf\tfonts-a\tOFL-1.1'])
    with pytest.raises(ConfigError, match='1 of its 2 fonts are not here, the first is /none/a.ttf; '
                                          'their packages: fonts-a'):
        source(fonts=listed)
