"""Sets that a recipe can hardly use are refused before training, and test sets are never trained on."""

import pytest

from recog.config import checks
from recog.data.fingerprint import fingerprint
from recog.data.judged import check_usable
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.text import vocabulary


def words(folder, bad, count=60):
    """A set of which so many labels are too long."""
    return folder('words', [(f'{number}.png', 'w' * 30 if number < bad else 'word')
                            for number in range(count)])


def judged(config, root):
    check_usable(open_set('words', config, root), vocabulary.from_config(config.text), config)


def test_a_set_with_too_many_rows_of_no_use_is_refused_with_the_reasons_counted(narrow, folder):
    root = words(folder, bad=15)
    with pytest.raises(ConfigError, match=r'words: of 60 rows 15 cannot be used: too long 15\. '
                                          r'.*config.text.max_length.*config.data.most_dropped=0.2'):
        judged(narrow(), root)
    judged(narrow('data.most_dropped=0.3'), root)


def test_a_few_rows_of_no_use_are_no_reason_to_refuse(narrow, folder):
    judged(narrow(), words(folder, bad=10))


def test_a_handful_of_rows_is_not_judged(narrow, folder):
    judged(narrow(), words(folder, bad=5, count=6))


def test_drawn_sets_are_judged_by_their_labels(narrow):
    config = narrow('text.max_length=4', 'render.letters=(6, 9)')
    with pytest.raises(ConfigError, match='rendered:train: of 300 rows 300 cannot be used: too long 300'):
        check_usable(open_set('rendered:train', config, '.'), vocabulary.from_config(config.text), config)


@pytest.mark.parametrize('name', ['iiit5k:test', 'svt', 'crohme/bitmaps:train+test_2014', 'hme100k:test'])
def test_training_on_what_papers_report_is_refused(narrow, name):
    with pytest.raises(ConfigError, match=f'config.data.train: .*{name.partition(":")[0]}.* is a test set'):
        checks.check(narrow(f'data.train={name}'))


@pytest.mark.parametrize('name', ['iiit5k:train', 'mjsynth:train+validation+test', 'my/test_photos:train'])
def test_other_sets_may_be_trained_on(narrow, name):
    checks.check(narrow(f'data.train={name}'))


def of(name, config, root):
    return fingerprint(open_set(name, config, root), config, root)


def test_a_fingerprint_changes_with_labels_images_and_what_is_drawn(narrow, folder):
    root, config = words(folder, bad=0), narrow()
    found = [of('words', config, root), of('words', config, root)]
    assert found[0] == found[1]
    labels = root / 'words' / 'labels.tsv'
    labels.write_text(labels.read_text().replace('word', 'more'))
    found.append(of('words', config, root))
    (root / 'words' / '0.png').write_bytes(b'other')
    found.append(of('words', config, root))
    assert len(set(found)) == 3
    assert of('rendered:train', config, root) == of('rendered:train', narrow(), root)
    assert of('rendered:train', config, root) != \
        of('rendered:train', narrow('render.difficulty=0.5'), root)
