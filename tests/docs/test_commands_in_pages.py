"""Every command on the pages is understood, and those of the first pages are run on a narrow demo."""

import contextlib
import re

import pytest
from pages import PAGES, commands, inline, script
from small import NARROW, ROOT, prepared

from recog.commands import command_line
from recog.config import experiments
from recog.config.fields import DECLARED
from recog.config.values import flat
from recog.reproduce import rows

FOUND = [(page.relative_to(ROOT).as_posix(), words) for page in PAGES for words in commands(page)]
PARSERS = script('generated').parsers()
# Serving goes on until it is stopped, and these two want a file of weights, or the network.
NOT_RUN = ('serve', 'demo', 'import', 'pull', 'push')


def written(words):
    return f'recog {" ".join(words)}'


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
    """A folder with the recipes, in which the pages' commands are run one after another."""
    folder = tmp_path_factory.mktemp('pages')
    (folder / 'experiments').symlink_to(ROOT / 'experiments')
    prepared(folder, 'words', [(f'{number}.png', f'word{number}') for number in range(4)])
    return folder


def small(words):
    """A command of a page on a narrow model, and on a set of four images instead of a drawn one."""
    words = [re.sub(r'^rendered:\w+$', 'words', word) for word in words]
    if words[0] == 'train':
        words += [*NARROW, '--config.render.count=64', '--config.eval.report=words']
    chooses = '--devices' in PARSERS[words[0]]._option_string_actions and 'exports/demo' not in words
    return words + (['--devices', '0'] if chooses else [])


def test_the_first_pages_work_as_they_stand(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for name in ('tutorials/first-run.md', 'tutorials/export-and-serve.md'):
        lines = [words for words in commands(ROOT / 'docs' / name) if words[0] not in NOT_RUN]
        assert len(lines) > 2
        for words in lines:
            assert command_line.main(small(words)) == 0, (name, written(words), capsys.readouterr().err)
    assert len(list((place / 'drawings').glob('*.png'))) == 1 and (place / 'words-v1' / 'card.md').exists()


@pytest.mark.parametrize('words', [words for _, words in FOUND if words in (['reproduce'], ['readers'])
                                   or '--dry-run' in words or '--explain' in words and words[0] == 'config'],
                         ids=written)
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
