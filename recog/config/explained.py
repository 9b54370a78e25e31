"""Every field of a recipe with its meaning, those marked that differ from their default."""

import ast
import io
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from recog.config import experiments
from recog.config.fields import DECLARED
from recog.config.values import flat

COLUMNS, WIDE = 110, 46  # of a line, and of a field with its value
NAME = 'the algorithm: a module of recog/models, or one of your own by its dotted name'


def lines(config: ConfigDict, recipe: str) -> Iterator[str]:
    """A line or more for each field; `recipe` is the FILE[:VARIANT] that it came from."""
    file = recipe.partition(':')[0]
    defaults = {name: field.default for name, field in flat(DECLARED).items()}
    meanings = {name: field.meaning for name, field in flat(DECLARED).items()}
    # The algorithm's own fields: as in the first recipe of its file, which is the reference's.
    origin = experiments.origin(file)
    first = flat(experiments.experiment_module(origin).get_config())
    defaults |= {name: value for name, value in first.items() if name.startswith('model.')}
    meanings |= {f'model.{name}': words for name, words in comments(Path(origin)).items()}
    meanings['model.name'] = NAME
    yield '* differs from the default'
    for name, value in flat(config).items():
        differs = name not in defaults or value != defaults[name]
        default = f' (default {defaults[name]!r})' if differs and name in defaults else ''
        yield from _lines(f'{"*" if differs else " "} {name} = {value!r}', meanings.get(name, '') + default)


def _lines(field: str, meaning: str) -> list[str]:
    """A field with its meaning beside it, or below where it is long."""
    beside = field.ljust(WIDE) if len(field) < WIDE else ' ' * WIDE
    words = textwrap.wrap(meaning, COLUMNS - WIDE, break_on_hyphens=False) or ['']
    found = [f'{beside}{words[0]}', *(' ' * WIDE + line for line in words[1:])]
    return [line.rstrip() for line in (found if len(field) < WIDE else [field, *found]) if line.strip()]


def comments(file: Path) -> Mapping[str, str]:
    """What the comments of an experiment file say of the algorithm's fields: beside them, or above."""
    text = file.read_text(encoding='utf-8')
    comments = {token.start: token.string.lstrip('# ') for token in
                tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT}
    beside = {line: words for (line, _), words in comments.items()}
    alone = {line for line, column in comments if not text.split('\n')[line - 1][:column].strip()}
    found = {}
    for call in ast.walk(ast.parse(text)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == 'base':
            for field in call.keywords:
                last = field.value.end_lineno or field.lineno
                above: list[str] = []
                line = field.lineno - 1
                while line in alone:
                    above.insert(0, beside[line])
                    line -= 1
                found[field.arg or ''] = beside[last] if last in beside else ' '.join(above)
    return found
