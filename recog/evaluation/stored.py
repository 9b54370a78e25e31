"""Results as a folder holds them: whatever does not have its form is left out, and named."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from recog.evaluation import protocols
from recog.evaluation.averages import Average
from recog.evaluation.results import OF_FORMULAS
from recog.metrics.words import NFKD, PROTOCOLS
from recog.workdir import files

LARGEST = 1 << 53  # of a number
WIDEST = 1000  # beam
PREDICTIONS = re.compile(rf'{files.PREDICTIONS.split(".")[0]}[\w+,.=-]*\.tsv')
# What figures of a set must be there, and which besides must be numbers.
FIGURES = ('count', 'right', 'accuracy', 'one_minus_ned')
NUMBERS = (*OF_FORMULAS, 'unreadable')


def sound(document: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """A measurement without what does not have its form, None if nothing of it has; and what was left out."""
    if not isinstance(document, dict) or not all(_has(document, *needed) for needed in NEEDED.items()):
        return None, []
    kept = {name: value for name, value in document.items()
            if PARTS.get(name, _is_anything)(value) and _is_text_throughout([name, value])}
    kept['sets'] = {name: figures for name, figures in document['sets'].items()
                    if _is_set(figures) and _is_text_throughout([name, figures])}
    problems = [_shown(name) for name in document if name not in kept]
    problems += [_shown(f'set {name}') for name in document['sets'] if name not in kept['sets']]
    return (kept, problems) if kept['sets'] else (None, problems)


def _is_text_throughout(value: Any) -> bool:
    """Whether it can be written as UTF-8: JSON may hold halves of characters."""
    try:
        return bool(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False


def _shown(name: str) -> str:
    return ' '.join(name.encode(errors='replace').decode().split())[:100]


def _has(parent: Mapping[str, Any], name: str, check: Callable[[Any], bool]) -> bool:
    return name in parent and check(parent[name])


def _is_anything(_: Any) -> bool:
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) > LARGEST


def _is_whole(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool)) or _is_number(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_table(value: Any, check: Callable[[Any], bool]) -> bool:
    """Whether it is a dictionary all of whose values pass."""
    return isinstance(value, dict) and all(map(check, value.values()))


def _are_counted(figures: Any) -> bool:
    """Whether figures say how many of how many are right."""
    return isinstance(figures, dict) and all(_has(figures, name, _is_number) for name in FIGURES) \
        and all(_is_number(figures[name]) for name in NUMBERS if name in figures) \
        and 0 <= figures['right'] <= figures['count'] and figures.get('unreadable', 0) >= 0


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(_are_texts(each) and len(each) == 2 for each in value)


def _are_cells(value: Any) -> bool:
    """Whether it is the accuracy of parts of a set, such as lengths."""
    return _is_table(value, lambda cell: isinstance(cell, dict) and _has(cell, 'accuracy', _is_number)
                     and _has(cell, 'count', _is_number))


OF_A_SET: dict[str, Callable[[Any], bool]] = {
    'lexicons': lambda value: _is_table(value, _are_counted), 'unreadable_images': _are_pairs,
    'shrunk_images': _are_pairs, 'by_length': _are_cells, 'by_depth': _are_cells}


def _is_set(figures: Any) -> bool:
    return _are_counted(figures) and all(check(figures[name]) for name, check in OF_A_SET.items()
                                         if name in figures)


def _is_average(value: Any) -> bool:
    try:
        return bool(Average(**value).shown()) and _are_texts([value['name'], value['definition']]) and all(
            value[name] is None or _is_number(value[name]) for name in ('value', 'high'))
    except (TypeError, ValueError, KeyError):
        return False


def _are_differences(value: Any) -> bool:
    try:
        return bool(protocols.described(protocols.from_json(value)))
    except (TypeError, ValueError, LookupError, AttributeError):
        return False


def _is_protocol(value: Any) -> bool:
    return value in [*PROTOCOLS, *(f'{name}{NFKD}' for name in PROTOCOLS if name != 'latex')]


# Without these nothing of a measurement can be used.
NEEDED: dict[str, Callable[[Any], bool]] = {
    'sets': lambda value: isinstance(value, dict) and bool(value), 'protocol': _is_protocol,
    'seed': _is_whole}
PARTS: dict[str, Callable[[Any], bool]] = {
    'own': lambda value: isinstance(value, bool), 'step': _is_whole, 'precision': _is_scalar,
    'beam': lambda value: _is_whole(value) and 0 < value <= WIDEST, 'max length': _is_scalar,
    'width rule': _is_scalar, 'images': _is_text, 'lexicon': _is_text, 'recipe': _is_text,
    'seeds': lambda value: _is_table(value, _is_scalar),
    'predictions': lambda value: _is_text(value) and bool(PREDICTIONS.fullmatch(value)),
    'missing': _are_texts, 'notes': _are_texts,
    'averages': lambda value: isinstance(value, list) and all(map(_is_average, value)),
    'differences': _are_differences,
    'earlier': lambda value: _is_table(value, lambda about: isinstance(about, dict)),
    'more': lambda value: isinstance(value, list)}
