"""Every command on the pages is understood, and those of the first pages are run on a narrow demo."""

import contextlib
import re
import shlex
import shutil

import pytest
from builders import load
from pages import PAGES, blocks, commands, inline, script
from readers import DATA, WRITTEN
from small import NARROW, ROOT, prepared

from recog import prepare
from recog.commands import command_line
from recog.config import experiments
from recog.config.fields import DECLARED
from recog.config.values import flat
from recog.reproduce import rows

FOUND = [(page.relative_to(ROOT).as_posix(), words) for page in PAGES for words in commands(page)]
PARSERS = script('generated').parsers()
# Serving goes on until it is stopped; the others train for long, or want a file of weights, the network, or,
# lexicon, a model that reads well, or, average, one that started from another (tests/commands run both).
NOT_RUN = ('serve', 'demo', 'import', 'pull', 'push', 'train', 'sweep', 'search', 'reproduce', 'lexicon',
           'average')
# The tutorials that are run as they stand, and what stands in for the workdirs of other pages.
TUTORIALS = [words for name in ('first-run', 'export-and-serve')
             for words in commands(ROOT / 'docs' / 'tutorials' / f'{name}.md')
             if words[0] not in NOT_RUN or words[0] == 'train']
COPIES = ('runs/a', 'runs/b', 'runs/c', 'runs/other', 'runs/mine', 'runs/ablation/whole-seed0',
          'runs/ablation/no_lstm-seed0')
# What is not made here, is of full size, or was done under another name.
LEFT_OUT = ('hf://', 'runs/can', 'runs/paddle', '--config experiments', 'export runs/crnn',
            'export runs/mine')
PREPARED = ''.join(file.read_text() for file in (ROOT / 'recog' / 'prepare').glob('*.py'))


def written(words):
    return f'recog {" ".join(words)}'


# The commands of all pages that use a workdir, an export or a set, each once.
RUN = [list(words) for words in dict.fromkeys(tuple(words) for _, words in FOUND if words not in TUTORIALS)
       if words[0] not in NOT_RUN and not any(each in written(words) for each in LEFT_OUT)
       or words[0] in ('augment', 'pack')]


@pytest.mark.parametrize(('page', 'words'), FOUND, ids=[f'{page}-{written(words)}' for page, words in FOUND])
def test_a_command_on_a_page_is_understood(monkeypatch, page, words):
    monkeypatch.chdir(ROOT)
    with contextlib.suppress(SystemExit):  # of argparse
        known, rest = command_line.parser().parse_known_args(words)
        assert known.overridable or not rest, rest
        if known.command == 'reproduce' and known.name and known.name != 'NAME':
            assert rows.row(known.name)
        config = getattr(known, 'config', '') or ''
        if config.startswith('experiments/') and (ROOT / config.partition(':')[0]).exists():
            experiments.load(config, [each for each in rest if 'FIELD=VALUE' not in each])
        return
    pytest.fail(f'{page}: {written(words)} is not understood')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_fields_and_recipes_within_a_text_are_there(page):
    for code in inline(page):
        words = code.split()
        if words[0] == 'recog' and len(words) > 1 and words[1] in PARSERS:
            known = PARSERS[words[1]]._option_string_actions
            assert not {word for word in words if re.fullmatch(r'--[a-z-]+', word)} - known.keys(), code
        elif words[0] == 'recog' and len(words) > 1:
            assert words[1].startswith('--') or words[1] == 'NAME', code
        for field in re.findall(r'--config\.([a-z][\w.]*)=', code):
            assert field in flat(DECLARED) or field.startswith('model.'), code
        for file, variant in re.findall(r'^(?:experiments/)?(\w+\.py):([a-z]\w*)$', code):
            path = ROOT / 'experiments' / file
            assert not path.exists() or variant in experiments.experiment_module(str(path)).VARIANTS, code


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with recipes and small data, in which the commands of the tutorials were run."""
    folder = tmp_path_factory.mktemp('pages')
    for name in ('experiments', 'docs'):
        (folder / name).symlink_to(ROOT / name)
    images = [(f'{number}.png', f'word{number}') for number in range(4)]
    for name in ('words', 'mine/test'):
        prepared(folder, name, images)
    for name in ('scans', 'more', 'my_words', 'crops'):
        shutil.copytree(folder / 'data' / 'words', folder / name)
    for name in ('photo.jpg', 'scan.png'):
        shutil.copy(folder / 'crops' / '0.png', folder / name)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv('RECOG_CACHE', str(folder / 'cache'))
        for words in TUTORIALS:
            assert command_line.main(small(words)) == 0, written(words)
    shutil.copytree(WRITTEN / 'run', folder / 'runs' / 'right')
    for name in COPIES:
        shutil.copytree(folder / 'runs' / 'demo', folder / name)
    shutil.copytree(folder / 'exports' / 'demo', folder / 'exports' / 'mine')
    return folder


def small(words):
    """A command of a page on a narrow model, and on a set of four images instead of another one."""
    if words[0] == 'calibrate':  # which needs a model that is sometimes right
        return ['calibrate', 'runs/right', '--set', 'packed', '--data', str(DATA)]
    words = [re.sub(r'^(rendered|mjsynth|iiit5k):\w+$', 'words', word) for word in words]
    if words[0] == 'train':
        words += [*NARROW, '--config.render.count=64', '--config.eval.report=words']
    if '--corrupt' in words:
        words.insert(words.index('--corrupt') + 1, 'rotation,occlusion')
    if words[0] == 'bench':
        words += ['--seconds', '0.1', '--batch', '2']
    compares = words[0] == 'evaluate' and '--set' not in words
    chooses = '--devices' in PARSERS[words[0]]._option_string_actions and not compares
    return words + (['--devices', '0'] if chooses and 'exports/' not in written(words) else [])


def test_the_first_pages_work_as_they_stand(place):
    assert len(TUTORIALS) > 6
    assert len(list((place / 'drawings').glob('*.png'))) == 1 and (place / 'words-v1' / 'card.md').exists()
    assert list((place / 'runs' / 'demo').glob('*.html'))


@pytest.mark.parametrize('words', RUN, ids=written)
def test_a_command_that_uses_a_model_or_a_set_works(place, monkeypatch, capsys, words):
    monkeypatch.chdir(place)
    assert command_line.main(small(words)) == 0, capsys.readouterr().err


def test_your_own_images_are_prepared_by_the_line_of_the_page(place, monkeypatch, capsys):
    page = (ROOT / 'docs' / 'tutorials' / 'your-own-images.md').read_text()
    (line,) = re.findall('^    python datasets/folder.py (.*)$', page, re.M)
    monkeypatch.chdir(place)
    words = shlex.split(line.replace('--data data', '--data made'))
    assert prepare.main(load('folder').Folder, [*words, '--workers', '1']) == 0, capsys.readouterr().err
    assert list(place.glob('made/mine/*/report.txt'))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_scripts_on_a_page_are_there_with_their_options(page):
    for line in blocks(page.read_text(encoding='utf-8')):
        if found := re.match(r'python ((?:datasets|tests)/[a-z]\w*(?:/\w+)*\.py)(.*)', line):
            source = (ROOT / found[1]).read_text() + PREPARED
            assert not [option for option in re.findall(r'--[a-z-]+', found[2]) if option not in source], line


@pytest.mark.parametrize('words', [words for _, words in FOUND
                                   if words == ['reproduce'] or '--dry-run' in words], ids=written)
def test_what_only_prints_prints(monkeypatch, capsys, words):
    monkeypatch.chdir(ROOT)
    assert command_line.main(words) == 0
    assert capsys.readouterr().out


def test_the_ablation_of_the_page_is_a_recipe(tmp_path):
    page = (ROOT / 'docs' / 'tutorials' / 'ablation.md').read_text()
    file = tmp_path / 'my_ablation.py'
    file.write_text(re.search(r'```python\n(.*?)```', page, re.S)[1])
    assert experiments.load(f'{file}:no_lstm').model.lstm_layers == 0
    assert experiments.load(f'{file}:half').model.lstm_hidden == 64
