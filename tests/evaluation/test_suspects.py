"""Labels that may be wrong stand first among what is read otherwise."""

import math
import random

import pytest

from recog.evaluation import suspects, write
from recog.evaluation.results import Prediction, Result
from recog.metrics.words import edit_distance, word_figures


def prediction(number, truth, text, confidence):
    return Prediction(f'{number}.png', 'words', truth, text, confidence, truth == text,
                      edit_distance(truth, text), math.log(confidence) if confidence else -math.inf)


def test_sure_texts_with_many_edits_come_first():
    read = [prediction(1, 'house', 'mouse', 0.6), prediction(2, 'house', 'mouse', 0.99),
            prediction(3, 'same', 'same', 0.99), prediction(4, 'house', 'river', 0.9),
            prediction(5, 'house', 'river', 0.99), prediction(6, 'house', 'a', 1.0),
            prediction(7, 'older', 'other', 0.5)._replace(confidence=math.nan)]
    found = suspects.ranked(read)
    assert [each.id for each in found] == ['6.png', '5.png', '2.png', '4.png', '1.png']
    assert [each.rank for each in found] == [1, 2, 3, 4, 5] and found[3].disagreement == pytest.approx(5 * 9)


def test_planted_labels_stand_before_a_readers_own_mistakes():
    draw, read = random.Random(0), []
    words = [''.join(draw.choices('abcdefghij', k=draw.randint(2, 9))) for _ in range(1000)]
    for number, word in enumerate(words):
        sure = draw.random() ** 0.05  # as often as that the reader is right
        text = word if draw.random() < sure else draw.choice('xyz') + word[1:]
        read.append(prediction(number, words[number - 1] if number % 33 == 0 else word, text, sure))
    first = suspects.ranked(read)[:31]
    assert sum(int(each.id.split('.')[0]) % 33 == 0 for each in first) > 0.8 * len(first)


def test_they_are_a_file_of_the_latest_way_of_measuring(tmp_path):
    about = {'protocol': 'exact', 'seed': 0, 'step': 1, 'model': 'm', 'beam': 1}

    def measured(name, *texts, **how):
        read = [prediction(number, 'word', text, 0.9)._replace(set=name) for number, text in enumerate(texts)]
        figures = {**word_figures([each.truth for each in read], list(texts), 'exact'), 'unreadable': 0}
        write.write_results(tmp_path, [Result(name, figures, read, [], [])], [], {**about, **how})
        lines = (tmp_path / 'suspects.tsv').read_text().splitlines()
        return [line.split('\t')[5:] for line in lines[1:]]
    assert measured('one', 'word', 'wood') == [['one', 'word', 'wood']]
    assert measured('two', 'else') == [['two', 'word', 'else'], ['one', 'word', 'wood']]
    assert measured('two', 'ward', beam=5) == [['two', 'word', 'ward']]
    assert measured('two', 'word', beam=5) == []
