"""How often the choice of protocol changes a verdict, with examples."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from recog.evaluation import markdown
from recog.metrics.words import NFKD, canonical

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


def differences(words: Iterable[Word], protocol: str) -> Differences:
    """How verdicts differ between 36, 62 and 94 characters, and between the protocol with NFKD and without.

    For `exact` the last is 94. The examples alternate between all patterns of verdicts, so that each is
    shown.
    """
    plain = protocol.removesuffix(NFKD)
    plain = plain if plain in COMPARED else COMPARED[-1]
    protocols = (*COMPARED, plain + NFKD)
    pairs = [(0, 1), (0, 2), (1, 2), (protocols.index(plain), 3)]
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
    named = {(protocols[a], protocols[b]): count for (a, b), count in zip(pairs, counts, strict=True)}
    return Differences(total, protocols, named, turns[:SHOWN])


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
    return Differences(held['words'], tuple(dict.fromkeys(name for pair in counts for name in pair)), counts,
                       examples)
