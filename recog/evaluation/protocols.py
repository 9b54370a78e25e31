"""How often the choice of protocol changes a verdict, with examples."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from recog.evaluation import markdown
from recog.metrics.words import NFKD, canonical
from recog.text.vocabulary import CHARSETS

COMPARED = ('36', '62', '94')
SHOWN = 10  # examples of words whose verdict depends on the protocol


class Word(NamedTuple):
    """A word that was read."""

    set: str
    id: str
    truth: str
    text: str


class Disputed(NamedTuple):
    """A word whose verdict depends on the protocol."""

    word: Word
    labels: tuple[str, ...]  # what each protocol compares of its label
    right: tuple[bool, ...]  # the verdict under each


class Differences(NamedTuple):
    """How often the choice of protocol changes a verdict."""

    words: int  # that were judged
    protocols: tuple[str, ...]
    counts: dict[tuple[str, str], int]  # words that two protocols judge differently
    examples: list[Disputed]


def compared(characters: Iterable[str]) -> tuple[str, ...]:
    """The protocols that a model with these characters can meet."""
    held = frozenset(characters)
    return tuple(name for name in COMPARED if held.issuperset(CHARSETS[name]))


def differences(words: Iterable[Word], protocol: str, able: Sequence[str] = COMPARED) -> Differences:
    """How verdicts differ between those of 36, 62 and 94 characters that the model is able to meet, and
    between the protocol with NFKD and without.

    For `exact` the last is the widest. The examples alternate between all patterns of verdicts, so that each
    is shown.
    """
    plain = protocol.removesuffix(NFKD)
    plain = plain if plain in COMPARED else able[-1] if able else COMPARED[-1]
    named = able if plain in able else (*able, plain)
    protocols = (*named, plain + NFKD)
    pairs = [*combinations(range(len(able)), 2), (protocols.index(plain), len(named))]
    counts, total = [0] * len(pairs), 0
    patterns: defaultdict[tuple[bool, ...], list[Disputed]] = defaultdict(list)
    for word in words:
        total += 1
        if word.truth == word.text:  # right under all
            continue
        labels = [str(canonical(word.truth, each)) for each in protocols]
        right = tuple(label == canonical(word.text, each)
                      for label, each in zip(labels, protocols, strict=True))
        if len(set(right)) == 1:
            continue
        counts = [count + (right[a] != right[b]) for count, (a, b) in zip(counts, pairs, strict=True)]
        if len(patterns[right]) < SHOWN:
            patterns[right].append(Disputed(word, tuple(labels), right))
    turns = [found[turn] for turn in range(SHOWN) for found in patterns.values() if turn < len(found)]
    by_pair = {(protocols[a], protocols[b]): count for (a, b), count in zip(pairs, counts, strict=True)}
    return Differences(total, protocols, by_pair, turns[:SHOWN])


def described(found: Differences) -> str:
    """The differences in Markdown."""
    lines = [f'- {one} and {other} judge {count:,} of {found.words:,} words differently'
             for (one, other), count in found.counts.items()]
    if not found.examples:
        return '\n'.join(lines)
    rows = [[each.word.set, each.word.id, each.word.truth, each.word.text,
             *(f'{label} {"right" if right else "wrong"}'
               for label, right in zip(each.labels, each.right, strict=True))] for each in found.examples]
    heads = ['set', 'id', 'label', 'read', *(f'label under {protocol}' for protocol in found.protocols)]
    return '\n'.join([*lines, '', markdown.table(heads, rows)])


def as_json(found: Differences) -> dict[str, Any]:
    """The differences as JSON holds them."""
    examples = [{**each.word._asdict(), 'labels': dict(zip(found.protocols, each.labels, strict=True)),
                 'right': dict(zip(found.protocols, each.right, strict=True))} for each in found.examples]
    counts = {' and '.join(pair): count for pair, count in found.counts.items()}
    return {'words': found.words, 'counts': counts, 'examples': examples}


def from_json(held: dict[str, Any]) -> Differences:
    """The differences that `as_json` wrote."""
    counts = {(one, other): count for pair, count in held['counts'].items()
              for one, _, other in [pair.partition(' and ')]}
    examples = [Disputed(Word(*(each[name] for name in Word._fields)), tuple(each['labels'].values()),
                         tuple(each['right'].values())) for each in held['examples']]
    names = held['examples'][0]['labels'] if examples else (name for pair in counts for name in pair)
    return Differences(held['words'], tuple(dict.fromkeys(names)), counts, examples)
