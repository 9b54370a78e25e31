"""What the pages take from the code, when they are built: all of it, and nothing that is stored."""

import re

import pytest
from pages import script
from small import ROOT

from recog import models
from recog.config import experiments
from recog.config.fields import DECLARED
from recog.config.values import flat


def shown(page):
    """A page as Sphinx reads it."""
    return script('inserts').page((ROOT / 'docs' / f'{page}.md').read_text(encoding='utf-8'), page)


def test_every_field_stands_on_the_page_of_fields():
    page = shown('reference/fields')
    assert [name for name in flat(DECLARED) if f'| `{name}` | `' not in page] == []
    assert '| one of `' in page or "| one of '" in page
    assert ' is not one of ' not in page and '| must ' not in page  # which are words for a wrong value


def test_every_command_and_option_stands_on_the_page_of_commands():
    page = shown('reference/commands')
    for command, parser in script('generated').parsers().items():
        section = page.partition(f'## recog {command}\n')[2].partition('\n## ')[0]
        for action in parser._actions:
            name = action.option_strings[0] if action.option_strings else action.metavar or action.dest
            assert action.dest == 'help' or f'| `{name}' in section, (command, name)


@pytest.mark.parametrize('name', models.names())
def test_every_algorithm_has_its_variants_results_and_tolerances_on_a_page(name):
    page = shown(f'algorithms/{name}' if (ROOT / 'docs' / 'algorithms' / f'{name}.md').exists()
                 else 'algorithms/further')
    file = ROOT / 'experiments' / f'{name}.py'
    declared = experiments.declared(file)
    assert [variant for variant in declared.variants if f'\n| `{variant}` | ' not in page] == []
    assert [variant for variant in declared.results if f'| `{name}-{variant}` |' not in page] == []
    goldens = re.findall(r'`(\w+)`, recipe `' + name, page)
    assert len(goldens) == len([path for path in (ROOT / 'tests/models/goldens').glob('*.facts.json')
                                if f'"{name}.py:' in path.read_text()])


def test_an_algorithm_without_a_page_is_listed_with_the_others(monkeypatch, tmp_path):
    generated = script('generated')
    monkeypatch.setattr(generated.models, 'names', lambda: ('crnn', 'srn'))
    monkeypatch.setattr(generated, 'PAGES', tmp_path)
    (tmp_path / 'crnn.md').write_text('# CRNN\n')
    page = generated.further_algorithms()
    assert page.startswith('## srn\n\n### ') and '`srn-r50`' in page and 'crnn-r34' not in page


def test_the_api_has_signatures_and_words():
    page = shown('reference/python')
    assert "devices: str=''" in page and 'decode(variables, image' in page
    assert 'class Answer\n    text: str | None\n    confidence: float\n    score: float = -' in page
    assert page.count('```python') >= 10 and 'insert' not in page


def test_a_link_to_a_file_that_is_a_page_leads_to_the_page():
    assert '](../reference/data-sets.md)' in shown('guides/data')
    front = shown('index')
    assert '](tutorials/first-run.md)' in front and '](pictures/reading.png)' in front
    assert '](reference/data-sets.md)' in front and '](../experiments/results/cpu/crnn-r34.json)' in front


def test_every_page_is_complete_and_its_links_lead_to_files():
    docs = ROOT / 'docs'
    pages = [path.relative_to(docs).with_suffix('').as_posix() for path in docs.rglob('*.md')]
    assert len(pages) > 30
    for page in pages:
        text = shown(page)
        assert text.lstrip().startswith('# ') and '\n<!-- insert' not in text, page
        links = re.findall(r'\]\((?!https?:)([^)\s#]+)', text)
        assert not [link for link in links if not (docs / page).parent.joinpath(link).exists()], page
