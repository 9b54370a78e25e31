"""Rows that stand in training and in validation are counted."""

import shutil

import cv2

from recog.data.sets import open_set
from recog.data.shared import shared


def said(root, narrow, training='a', validation='b'):
    opened = [[open_set(name, narrow(), root)] for name in (training, validation)]
    return list(shared(*opened))


def others(folder, *labels):
    """A set b whose images are those of no other."""
    root = folder('b', labels)
    for name, _ in labels:
        file = str(root / 'b' / name)
        cv2.imwrite(file, 255 - cv2.imread(file))
    return root


def test_the_same_image_with_the_same_label_is_counted_whatever_its_file_is_called(folder, narrow):
    root = folder('a', [('0.png', 'one'), ('1.png', 'two'), ('2.png', 'two')])
    others(folder, ('x.png', 'two'), ('y.png', 'two'), ('z.png', 'other'))
    for name in ('x.png', 'z.png'):
        shutil.copy(root / 'a' / '1.png', root / 'b' / name)
    assert said(root, narrow) == ['of 3 rows of b 1 stand in a, too: '
                                  'accuracies on them say less about other images']


def test_sets_with_words_in_common_share_no_rows(folder, narrow):
    root = folder('a', [(f'{number}.png', 'word') for number in range(5)])
    others(folder, *((f'{number}.png', 'word') for number in range(3)))
    assert said(root, narrow) == []


def test_a_set_shares_all_rows_with_itself_and_splits_of_drawn_words_none(folder, narrow):
    root = folder('a', [('0.png', 'one')], ('0.png',))
    assert said(root, narrow, 'a', 'a')[0].startswith('of 1 rows of a 1 stand in a')
    assert said(root, narrow, 'rendered:train', 'rendered:validation') == []
    assert len(said(root, narrow, 'rendered:train', 'rendered:train')) == 1
