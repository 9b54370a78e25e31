"""What pages show of the code: each function gives Markdown for a line `<!-- insert: NAME ARGUMENT -->`."""

import argparse
import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from written import explained_table, table, text

from recog import models
from recog.commands import command_line
from recog.config import experiments, explained
from recog.config.fields import DECLARED
from recog.config.values import flat
from recog.images.corrupt import CORRUPTIONS
from recog.reproduce import record
from recog.reproduce import table as results_table

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / record.FOLDER
GOLDENS = ROOT / 'tests' / 'models' / 'goldens'
PAGES = ROOT / 'docs' / 'algorithms'
FEW = 5  # changes of a variant that a table shows


def fields() -> str:
    """A table for each group of fields: name, default, what is allowed, and meaning."""
    groups: dict[str, list[Sequence[str]]] = {}
    for name, field in flat(DECLARED).items():
        group = name.rpartition('.')[0]
        bounds = '; '.join(_allowed(bound.words) for bound in field.bounds)
        groups.setdefault(group, []).append(
            (f'`{name}`', f'`{field.default!r}`', text(bounds), text(field.meaning)))
    parts = []
    for group, lines in groups.items():
        title = f'`{group}`' if group else 'Of the whole recipe'
        parts.append(f'## {title}\n\n{explained_table(("field", "default", "allowed", "meaning"), lines)}')
    return '\n\n'.join(parts)


def _allowed(words: str) -> str:
    """A bound's words, which complain of a value, as what is allowed."""
    return re.sub(r'^(must (be|hold|name) |may hold, |is not (?=one of))', '', words)


def parsers() -> Mapping[str, argparse.ArgumentParser]:
    """The parser of each command, by its name."""
    (subparsers,) = (action for action in command_line.parser()._actions
                     if isinstance(action, argparse._SubParsersAction))
    return subparsers.choices


def commands() -> str:
    """A section for each command: what it does, and a table of its arguments."""
    return '\n\n'.join(_command(name, parser) for name, parser in parsers().items())


def corruptions() -> str:
    """A table of the corruptions: what their severities are, and whose they are."""
    lines = [(f'`{name}`', ', '.join(f'{each:g}' for each in kind.strengths), text(kind.meaning),
              'ImageNet-C' if kind.benchmark else 'recog') for name, kind in CORRUPTIONS.items()]
    return table(('corruption', 'severities 1 to 5', 'of what', 'from'), lines)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    formatter = parser._get_formatter()
    lines = [(_spelled(action), text(formatter._expand_help(action)))
             for action in parser._actions if action.dest != 'help']
    parts = [f'## recog {name}', text(parser.description or ''),
             explained_table(('argument', 'meaning'), lines) if lines else '', text(parser.epilog or '')]
    return '\n\n'.join(filter(None, parts))


def _spelled(action: argparse.Action) -> str:
    """How an argument is written: `--beam BEAM`, or `workdir`."""
    if not action.option_strings:
        return f'`{action.metavar or action.dest}`'
    value = action.metavar or ('{' + ','.join(filter(None, action.choices)) + '}' if action.choices
                               else action.dest.upper())
    return f'`{action.option_strings[0]}{"" if action.nargs == 0 else f" {value}"}`'


def results() -> str:
    """The table of results, from its records."""
    return '\n'.join(results_table.lines(RECORDS))


def further_algorithms() -> str:
    """The algorithms that have no page of their own."""
    pages = {file.stem for file in PAGES.glob('*.md')}
    parts = [f'## {name}\n\n{algorithm(name, 3)}' for name in models.names() if name not in pages]
    return '\n\n'.join(parts) or 'At present there is none.'


def algorithm(name: str, level: int | str = 2) -> str:
    """What the code says of an algorithm: its recipes, its fields, its goldens and its results."""
    file = ROOT / 'experiments' / f'{name}.py'
    reference = ast.get_docstring(ast.parse(file.read_text(encoding='utf-8'))) or ''
    mark = '#' * int(level)
    return '\n\n'.join((
        f'{mark} The reference and this recipe\n\n{text(reference)}',
        f'{mark} Results\n\n{_results(name)}',
        f'{mark} Variants\n\nEach is `experiments/{name}.py:VARIANT`. The first is the reference. '
        f'Ablations that have no row above: not run.\n\n'
        f'{_variants(file)}',
        f'{mark} Fields of its own\n\n{_own_fields(file)}',
        f'{mark} Tested against the reference\n\n{_goldens(file.name)}'))


def _results(name: str) -> str:
    """The algorithm's rows of the table of results."""
    lines = results_table.lines(RECORDS)
    own = [line for line in lines if line.startswith(f'| `{name}-')]
    return '\n'.join((*lines[:2], *own)) if own else 'Not run.'


def _variants(file: Path) -> str:
    """What each variant changes of the first: in a table, and below it where that is much."""
    variants = experiments.experiment_module(str(file)).VARIANTS
    lines = [(f'`{name}`', _changes(changed)) for name, changed in variants.items()]
    return '\n\n'.join((table(('variant', 'what it changes'), lines), *(
        _details(name, changed) for name, changed in variants.items() if len(changed) > FEW)))


def _changes(changed: Mapping[str, Any]) -> str:
    if len(changed) > FEW:
        return f'{len(changed)} fields, listed below'
    lines = (f'`{field}={value!r}`'.replace('|', r'\|') for field, value in changed.items())
    return ', '.join(lines) or 'nothing'


def _details(name: str, changed: Mapping[str, Any]) -> str:
    """The changes of a variant, a line each, which the page shows on a click."""
    lines = '\n'.join(f'{field} = {value!r}' for field, value in changed.items())
    return (f'<details><summary><code>{name}</code>: {len(changed)} fields</summary>\n\n'
            f'```python\n{lines}\n```\n\n</details>')


def _own_fields(file: Path) -> str:
    """The fields below `model`, with the reference's values."""
    first = flat(experiments.experiment_module(str(file)).get_config())
    meanings = explained.comments(file) | {'name': explained.NAME}
    own = {name.removeprefix('model.'): value for name, value in first.items() if name.startswith('model.')}
    return explained_table(('field', 'reference', 'meaning'), [
        (f'`model.{name}`', f'`{value!r}`', text(meanings.get(name, ''))) for name, value in own.items()])


def _goldens(file: str) -> str:
    """How near each comparison with the reference's numbers has to be, for each golden of this file."""
    found = [(golden.name.removesuffix('.facts.json'), json.loads(golden.read_text()))
             for golden in sorted(GOLDENS.glob('*.facts.json'))]
    parts = [_golden(name, facts) for name, facts in found if facts['recipe'].partition(':')[0] == file]
    return ('Largest differences that the tests allow, relative to the largest value of an array; '
            '[how goldens are made](../development/goldens.md).\n\n' + '\n\n'.join(parts)
            if parts else 'There is no golden.')


def _golden(name: str, facts: Mapping[str, Any]) -> str:
    lines = [(f'output `{stage}`', f'{rule["within"]:g}') for stage, rule in facts['stages'].items()]
    loss, gradients = facts['loss'], facts['gradients']
    lines += [('first loss', f'{loss["first"]:g}'),
              ('loss after one and two steps', ', '.join(f'{near:g}' for near in loss['later'])),
              (f'norms of {gradients["count"]} gradients, of the largest', f'{gradients["norms"]:g}'),
              *_patterns('norms of gradients, each by itself', gradients.get('each', {})),
              *_patterns('whole gradients', gradients['whole']),
              *_patterns('running statistics', facts['statistics'])]
    return (f'`{name}`, recipe `{facts["recipe"]}`, {facts["parameters"]:,} trainable parameters:\n\n'
            + table(('what', 'within'), lines))


def _patterns(what: str, rules: Mapping[str, float]) -> Iterator[Sequence[str]]:
    for pattern, near in rules.items():
        yield what if pattern == '*' else f'{what}, `{pattern}`', f'{near:g}'
