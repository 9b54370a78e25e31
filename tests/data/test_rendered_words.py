import pickle
import shutil
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from recog.config.recipe import base
from recog.data.drawn.dice import Dice, split_of
from recog.data.drawn.fonts import Face, fonts, kernings
from recog.data.drawn.lexicon import cases
from recog.data.drawn.placing import projection
from recog.data.drawn.words import TOGETHER, Words
from recog.errors import ConfigError

TTF = Path(matplotlib.get_data_path(), 'fonts', 'ttf')


def source(split='train', *, seed=0, index_offset=0, **fields):
    rule = base().render
    rule.update(fields)
    return Words(rule, split, seed=seed, index_offset=index_offset)


def same(first, second):
    return first[:2] == second[:2] and np.array_equal(first.image, second.image)


def word_list(folder, words):
    path = folder / 'words.txt'
    path.write_text('\n'.join(words), encoding='utf-8')
    return str(path)


def some_words(count=400):
    return sorted({text.lower() for _, text in source(letters=(4, 8)).labels(range(count))}) + [
        text.lower() for split in ('validation', 'test')
        for _, text in source(split, letters=(4, 8)).labels(range(20))]


def test_a_word_depends_on_its_index_alone():
    words = source()
    assert same(words.rows([7])[0], words.rows([3, 7])[1])
    assert all(map(same, words.rows([9, 2, 5]), reversed(source().rows([5, 2, 9]))))


def test_words_drawn_together_are_those_drawn_alone():
    words = source()
    together = words.rows(range(2 * TOGETHER + 3))
    assert [row.id for row in together] == [name for name, _ in words.labels(range(len(together)))]
    places = 0, TOGETHER - 1, TOGETHER, 2 * TOGETHER + 2
    assert all(same(words.rows([place])[0], together[place]) for place in places)
    assert words.rows([]) == []


def test_an_offset_shifts_the_indices():
    assert all(map(same, source(index_offset=100).rows([0, 5]), source().rows([100, 105])))


def test_seeds_and_splits_give_other_words():
    texts = {tuple(text for _, text in words.labels(range(20)))
             for words in (source(), source(seed=1), source('validation'), source('test'))}
    assert len(texts) == 4


def test_over_a_ramp_words_grow_from_easy_ones_to_those_of_the_whole_difficulty():
    scenes = {'scene': 1.0, 'letters': (4, 8)}
    growing, hard, easy = source(ramp=40, **scenes), source(**scenes), source(difficulty=0.0, letters=(4, 8))
    half = source(difficulty=0.5, scene=0.5, letters=(4, 8))
    assert same(growing.rows([0])[0], easy.rows([0])[0])
    assert same(growing.rows([20])[0], half.rows([20])[0])
    assert all(map(same, growing.rows(range(40, 48)), hard.rows(range(40, 48))))
    assert same(source('test', ramp=40, **scenes).rows([0])[0], source('test', **scenes).rows([0])[0])


def test_labels_are_those_of_the_rows():
    for split in ('train', 'validation', 'test'):
        words = source(split)
        assert words.labels(range(30)) == [(row.id, row.text) for row in words.rows(range(30))]


def test_ids_are_unique():
    ids = [name for split in ('train', 'validation') for name, _ in source(split).labels(range(200))]
    assert len(set(ids)) == 400


def test_the_length_is_the_epoch_and_indices_beyond_it_exist():
    words = source(count=10)
    assert len(words) == 10 and len(source('validation')) == len(source('test')) == 10_000
    assert words.name == 'rendered:train'
    assert words.rows([10**12])[0].image is not None
    with pytest.raises(IndexError):
        words.rows([-1])


def test_splits_share_no_word():
    found = {split: {text.lower() for _, text in source(split, letters=(3, 5)).labels(range(3000))}
             for split in ('train', 'validation', 'test')}
    assert not found['train'] & found['validation']
    assert not found['train'] & found['test']
    assert not found['validation'] & found['test']


def test_splits_of_words_have_their_shares_whatever_the_case():
    words = [f'word{number}' for number in range(4000)]
    shares = {split: sum(split_of(word) == split for word in words) / 4000
              for split in ('train', 'validation', 'test')}
    assert shares['train'] == pytest.approx(0.9, abs=0.02)
    assert shares['validation'] == pytest.approx(0.05, abs=0.015)
    assert all(split_of(word) == split_of(word.upper()) == split_of(word.capitalize())
               for word in words[:200])


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="'dev' .* must be train, validation or test"):
        source('dev')


@pytest.mark.parametrize('letters', [(1, 2), (3, 10), (6, 6), (12, 30)])
def test_words_keep_the_range_of_letters(letters):
    lengths = {len(text) for _, text in source(letters=letters).labels(range(1500))}
    assert lengths == set(range(letters[0], letters[1] + 1))


def test_a_range_of_letters_that_empties_a_split_is_refused():
    single = [chr(code) for code in (*range(48, 58), *range(97, 123))]
    empty = [split for split in ('validation', 'test') if split not in map(split_of, single)]
    for split in ('train', 'validation', 'test'):
        if split in empty:
            with pytest.raises(ConfigError, match='letters'):
                source(split, letters=(1, 1))
        else:
            texts = {text.lower() for _, text in source(split, letters=(1, 1)).labels(range(20))}
            assert texts <= set(single)


def test_words_come_in_three_cases_with_every_letter_and_digit():
    texts = [text for _, text in source().labels(range(3000))]
    letters = [text for text in texts if text.isalpha()]
    for shown in (str.islower, str.isupper, str.istitle):
        assert 0.2 < sum(map(shown, letters)) / len(letters) < 0.45
    assert set('0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ') == set(''.join(texts))


@pytest.mark.parametrize('difficulty', [0.0, 0.5, 1.0])
def test_pictures_are_bgr_of_sane_size_with_visible_contrast(difficulty):
    contrasts = []
    for row in source(difficulty=difficulty).rows(range(150)):
        height, width, planes = row.image.shape
        assert row.image.dtype == np.uint8 and planes == 3 and not row.reason
        assert 24 <= height <= 48 and 8 <= width <= 800
        contrasts.append(float(cv2.cvtColor(row.image, cv2.COLOR_BGR2GRAY).std()))
    assert min(contrasts) > 20 * (1 - difficulty) + 2
    assert np.median(contrasts) > 25


def test_the_projection_is_that_of_the_corners():
    across, down = [3.0, 95.0, 91.0, 1.0], [2.0, 4.0, 30.0, 27.0]
    corners = np.array([(0, 0), (130, 0), (130, 38), (0, 38)], np.float32)
    expected = cv2.getPerspectiveTransform(corners, np.array([across, down], np.float32).T.copy())
    assert np.allclose(projection(across, down, 130, 38), expected, atol=1e-6)


def test_longer_words_are_wider():
    def ratio(letters):
        rows = source(letters=(letters, letters)).rows(range(40))
        return np.mean([row.image.shape[1] / row.image.shape[0] for row in rows])

    assert 2 < ratio(9) / ratio(3) < 4.5


def test_no_ink_is_cut_at_the_edges():
    for row in source(difficulty=0.0).rows(range(60)):
        grey = cv2.cvtColor(row.image, cv2.COLOR_BGR2GRAY).astype(int)
        edges = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))
        assert np.mean(np.abs(edges - np.median(edges)) > 50) < 0.02, row.text


def test_difficulty_changes_the_pictures():
    easy, hard = (source(difficulty=difficulty).rows(range(60)) for difficulty in (0.0, 1.0))
    assert [row.text for row in easy] == [row.text for row in hard]
    assert not any(same(*pair) for pair in zip(easy, hard, strict=True))
    flat = [np.mean([np.bincount(row.image[:, :, 1].ravel()).max() / row.image[:, :, 1].size for row in rows])
            for rows in (easy, hard)]
    assert flat[0] > 1.3 * flat[1]


def test_a_difficulty_beyond_the_scale_is_refused():
    with pytest.raises(ConfigError, match='config.render.difficulty=1.5 must be between 0 and 1'):
        source(difficulty=1.5)


def test_a_pickled_source_gives_the_same_words():
    words = source()
    before = words.rows(range(4))
    data = pickle.dumps(words)
    assert len(data) < 20_000  # caches are not pickled
    assert all(map(same, pickle.loads(data).rows(range(4)), before))


def test_another_process_draws_the_same_words():
    program = ("import zlib; from recog.config.recipe import base; from recog.data.drawn.words import Words; "
               "rows = Words(base().render, 'train', seed=0).rows(range(9)); "
               "print(zlib.crc32(b''.join(row.image.tobytes() for row in rows)))")
    line = [sys.executable, '-c', program]
    printed = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert int(printed) == zlib.crc32(b''.join(row.image.tobytes() for row in source().rows(range(9))))


def test_threads_get_the_same_words():
    words, parts = source(), [range(start, start + 10) for start in range(0, 80, 10)]
    with ThreadPoolExecutor(4) as pool:
        threaded = [row for rows in pool.map(words.rows, parts) for row in rows]
    assert all(map(same, threaded, words.rows(range(80))))


def test_a_word_list_is_split_and_drawn_in_three_cases(tmp_path):
    listed = some_words()
    path = word_list(tmp_path, ['', *listed, listed[0].upper(), '  '])
    for split in ('train', 'validation', 'test'):
        words = source(split, words=path)
        texts = {text.lower() for _, text in words.labels(range(6000))}
        assert texts == {word for word in listed if split_of(word) == split}
    assert source(words=path).rows([0])[0].image is not None


def test_a_list_may_have_punctuation_and_accents_that_a_font_has(tmp_path):
    path = word_list(tmp_path, [f'é{number}-ß!' for number in range(200)])
    rows = source(words=path).rows(range(20))
    assert all(row.text.lower().startswith('é') for row in rows)
    assert source(words=path).labels(range(20)) == [(row.id, row.text) for row in rows]


def test_a_case_that_changes_the_length_is_not_used():
    assert cases('straße') == ('straße',) * 3
    assert cases('wOrd') == ('word', 'Word', 'WORD')


@pytest.mark.parametrize(('content', 'message'), [
    (b'plain\nw\xe6\xbc\xa2ord\n', "no font can draw '漢' of 'w漢ord'"),
    (b'\n  \n', 'is empty'),
    (b'caf\xe9\n', 'must be UTF-8'),
    (b'one\n', 'holds no word of the'),
])
def test_a_bad_word_list_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / 'words.txt'
    path.write_bytes(content)
    split = 'validation' if split_of('one') != 'validation' else 'test'
    with pytest.raises(ConfigError, match=message) as error:
        source(split, words=str(path))
    assert '\n' not in str(error.value) and 'config.render.words' in str(error.value)


def test_a_missing_word_list_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='config.render.words=.*must be a text file'):
        source(words=str(tmp_path / 'none.txt'))


def test_the_own_fonts_are_those_that_look_like_letters():
    names = {Path(path).stem for path in fonts('')}
    assert {'DejaVuSans', 'DejaVuSerif-Italic', 'STIXGeneralBol', 'cmr10', 'cmtt10'} <= names
    assert not names & {'LastResortHE-Regular', 'cmex10', 'cmsy10', 'cmmi10', 'DejaVuSansDisplay'}
    assert len(names) == 21


def test_a_folder_adds_its_usable_fonts(tmp_path):
    (tmp_path / 'deep').mkdir()
    shutil.copy(TTF / 'DejaVuSans.ttf', tmp_path / 'deep' / 'Added.TTF')
    shutil.copy(TTF / 'DejaVuSansDisplay.ttf', tmp_path)
    words = source(fonts=str(tmp_path))
    assert set(words.fonts) - set(fonts('')) == {str(tmp_path / 'deep' / 'Added.TTF')}
    assert words.rows([0])[0].image is not None


def test_folders_without_a_usable_font_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / 'missing'):
        with pytest.raises(ConfigError, match='config.render.fonts=.*0-9a-zA-Z'):
            source(fonts=str(folder))
    shutil.copy(TTF / 'DejaVuSansDisplay.ttf', tmp_path)
    with pytest.raises(ConfigError, match='none of its 1 has'):
        source(fonts=str(tmp_path))
    (tmp_path / 'broken.ttf').write_bytes(b'not a font')
    with pytest.raises(ConfigError, match=r'none of its 2 has; 1 of its 2 files cannot be read: broken.ttf '):
        source(fonts=str(tmp_path))


def test_fonts_that_cannot_be_read_are_named_once_and_left_out(tmp_path, capsys):
    whole = (TTF / 'DejaVuSans.ttf').read_bytes()
    for name, content in {'good.ttf': whole, 'deep/cut.ttf': whole[:len(whole) // 2],
                          'text.otf': b'no font'}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for split in ('train', 'validation'):
        assert set(source(split, fonts=str(tmp_path)).fonts) - set(fonts('')) == {str(tmp_path / 'good.ttf')}
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and f'config.render.fonts={str(tmp_path)!r}: 2 of its 3 files' in said
    assert 'deep/cut.ttf (' in said and 'text.otf (' in said and said.endswith('; they are left out\n')


def test_kerning_draws_pairs_together():
    path = str(TTF / 'DejaVuSans.ttf')
    pairs = kernings(path)
    assert pairs['AV'] == pytest.approx(-0.064, abs=0.001) and 'HH' not in pairs
    assert kernings(str(TTF / 'cmr10.ttf')) == {}
    face = Face(path)
    assert face.word('AV', 0, 0).shape[1] < face.word('A', 0, 0).shape[1] + face.word('V', 0, 0).shape[1]
    assert face.word('HH', 10, 0).shape[1] == face.word('HH', 0, 0).shape[1] + 10
    assert face.word('a b', 0, 0).shape[1] > face.word('ab', 0, 0).shape[1]
    assert face.word('a', 0, 3).shape == tuple(size + 6 for size in face.word('a', 0, 0).shape)


def test_backgrounds_are_blended_in(tmp_path):
    stripes = np.zeros((90, 700, 3), np.uint8)
    stripes[:, ::2] = 255
    cv2.imwrite(str(tmp_path / 'stripes.png'), stripes)
    cv2.imwrite(str(tmp_path / 'tiny.jpg'), stripes[:1, :3])
    plain, over = source().rows(range(30)), source(backgrounds=str(tmp_path)).rows(range(30))
    assert [row.text for row in plain] == [row.text for row in over]
    assert not all(same(*pair) for pair in zip(plain, over, strict=True))
    assert all(row.image.dtype == np.uint8 and row.image.ndim == 3 for row in over)


def test_background_folders_without_images_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / 'missing'):
        with pytest.raises(ConfigError, match='config.render.backgrounds=.*must be a folder with images'):
            source(backgrounds=str(folder))
    (tmp_path / 'broken.png').write_bytes(b'not an image')
    with pytest.raises(ConfigError, match='broken.png.* must be an image'):
        source(backgrounds=str(tmp_path))


def test_very_long_words_are_drawn():
    row = source(letters=(300, 300)).rows([0])[0]
    assert len(row.text) == 300 and row.image.shape[1] > 2000


def test_dice_stay_in_their_ranges():
    dice = Dice(5)
    assert {dice.whole(2, 4) for _ in range(100)} == {2, 3, 4}
    assert {dice.pick('ab') for _ in range(50)} == {'a', 'b'}
    assert not dice.chance(0) and dice.chance(1)


def test_words_are_turned_by_quarters_for_models_that_are_to_read_these():
    rule = base(name='crnn').render
    plain = Words(rule, 'train', seed=0).rows(range(64))
    rule.turned = 0.5
    turned = Words(rule, 'train', seed=0).rows(range(64))
    turns = [[np.array_equal(np.rot90(one.image, turn), other.image) for turn in range(4)]
             for one, other in zip(plain, turned, strict=True)]
    assert all(map(any, turns)) and 20 < sum(each[0] for each in turns) < 44
    assert all(sum(each[turn] for each in turns) > 3 for turn in range(4))
