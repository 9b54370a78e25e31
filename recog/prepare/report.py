"""The report of a preparation: report.txt, report.json and report.png, and
the characters and tokens of its labels.

It counts the records, names what was rejected, and describes sizes, characters and labels that splits share.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from recog.prepare import sheet
from recog.prepare.folding import FORMULAS, Fold
from recog.prepare.survey import Survey
from recog.prepare.tally import MEASURES, MOST_TOKENS, QUANTILES, SETS, Shared, Tally, named, ranked

NAMED, SELDOM = 30, 10  # tokens that are named, and times below which one is named as seldom


def write(survey: Survey, title: str, expected: Mapping[str, int], records: Mapping[str, Any]) -> list[str]:
    """Write the report into the survey's folder; returns the lines that matter most, for the terminal.

    `records` gives random access to each split, in the order in which the splits are reported.
    """
    tallies = {split: survey.tallies[split] for split in records}
    shared = survey.shared(records)
    lines = [f'{title}: ' + ', '.join(f'{split} {tally.count:,}' for split, tally in tallies.items())]
    lines += differences({split: tally.count for split, tally in tallies.items()}, expected)
    lines += _trained_lines(shared, tallies)
    problems = survey.problem_line()
    formulas = survey.fold is FORMULAS
    text = [*lines, *_problem_lines(survey), *_split_lines(tallies, formulas),
            *_shared_lines(shared, tallies, survey.fold)]
    facts = _facts(survey, title, expected, tallies, shared)
    (survey.folder / 'report.txt').write_text('\n'.join(text) + '\n', encoding='utf-8',
                                              errors='backslashreplace')
    (survey.folder / 'report.json').write_text(json.dumps(facts, indent=1) + '\n')
    sheet.draw(survey.folder / 'report.png', title, tallies, survey.problems, shared, records, formulas)
    for name, found in _dictionaries(tallies).items():
        (survey.folder / name).write_bytes(''.join(f'{each}\n' for each in found).encode('utf-8', 'replace'))
    return [*lines, problems] if problems else lines


def differences(counts: Mapping[str, int], expected: Mapping[str, int]) -> list[str]:
    """A warning for each split that has other than the expected number of records."""
    found = {split: counts[split] if split in counts else 0 for split in expected}
    return [f'WARNING: split {split} has {found[split]:,} records instead of {wanted:,}'
            for split, wanted in expected.items() if wanted != found[split]]


def _dictionaries(tallies: Mapping[str, Tally]) -> dict[str, list[str]]:
    """Files for config.text.charset, from the training split: its characters and, if
    labels have several tokens, its tokens."""
    tally = tallies['train'] if 'train' in tallies else next(iter(tallies.values()))
    few = len(tally.counters['token']) <= MOST_TOKENS
    several = few and tally.count and tally.quantiles('tokens')['max'] > 1
    files = {'characters.txt': 'character', **({'tokens.txt': 'token'} if several else {})}
    return {name: sorted(each for each in tally.counters[kind] if each not in '\r\n')
            for name, kind in files.items()}


def _problem_lines(survey: Survey) -> Iterator[str]:
    for kind, counts in survey.problems.items():
        yield ''
        yield f'{kind} {counts.total():,}' + (f', all in {kind}.tsv' if counts else '')
        for reason, count in ranked(counts):
            yield f'{count:>10,}  {reason}'
            yield from (f'{"":14}{each}' for each in survey.listed[kind, reason])


def _split_lines(tallies: Mapping[str, Tally], formulas: bool) -> Iterator[str]:
    for split, tally in tallies.items():
        yield ''
        yield (f'split {split}: {tally.count:,} records, {_distinct(tally, "label"):,} different labels '
               f'({_distinct(tally, "folded"):,} folded)')
        yield f'{"":34}' + ''.join(f'{name:>9}' for name in (*QUANTILES, 'mean'))
        several = tally.quantiles('tokens')['max'] > 1
        left_out = 'length' if formulas else '' if several else 'tokens'
        for measure, unit in MEASURES.items():
            quantiles = tally.quantiles(measure)
            if measure != left_out:
                figures = [*(f'{value:9,}' for value in quantiles.values()), f'{tally.mean(measure):9,.1f}']
                yield f'  {f"{measure}, {unit}":32}' + ''.join(figures)
        if several:
            yield from _canvas_lines(tally)
        if tally.counters['length'][0]:
            yield f'  empty labels: {tally.counters["length"][0]:,}'
        if formulas:
            yield from _token_lines(tally)
            continue
        counts = ((name, tally.counters['outside'][name]) for name in SETS)
        outside = (f'{name} {count:,} ({count / tally.count:.2%})' for name, count in counts)
        yield f'  labels with characters outside the sets: {", ".join(outside)}; for 36 in lower case'
        characters = ranked(tally.counters['character'])
        strange = [f'{named(each)} {count:,}' for each, count in characters if each not in SETS['95']]
        if strange:
            yield f'  {len(strange):,} characters outside 95: {", ".join(strange[:30])}'


def _token_lines(tally: Tally) -> Iterator[str]:
    """How many different tokens there are, and which are frequent or seldom."""
    tokens = ranked(tally.counters['token'])
    yield f'  {len(tokens):,} different tokens; most frequent: ' + ', '.join(
        f'{token} {count:,}' for token, count in tokens[:NAMED])
    seldom = [token for token, count in tokens if count < SELDOM]
    if seldom:
        yield f'  {len(seldom):,} tokens occur less than {SELDOM} times: {", ".join(seldom[:NAMED])}'


def _canvas_lines(tally: Tally) -> Iterator[str]:
    """A table of how many of the images fit into a canvas, as images of any size are batched."""
    fitting = tally.fitting()
    heights, widths = (list(dict.fromkeys(canvas[side] for canvas in fitting)) for side in (0, 1))
    yield '  images that fit into a canvas: a line for its height, a column for its width'
    yield f'{"":34}' + ''.join(f'{width:9,}' for width in widths)
    for height in heights:
        yield f'{height:32,}  ' + ''.join(f'{fitting[height, width]:9.1%}' for width in widths)


def _trained_lines(shared: Sequence[Shared], tallies: Mapping[str, Tally]) -> list[str]:
    """How much of each other split stands in training, too."""
    found = [f'{each.split} {each.folded:,} of {tallies[each.split].count:,} '
             f'({each.folded / tallies[each.split].count:.1%})' for each in shared if each.other == 'train']
    return [f'records whose label stands in train, too: {", ".join(found)}'] if found else []


def _shared_lines(shared: Sequence[Shared], tallies: Mapping[str, Tally], fold: Fold) -> Iterator[str]:
    if shared:
        yield ''
        yield f'records whose label stands in another split, too: as given, and folded ({fold.said})'
    for each in shared:
        count = tallies[each.split].count
        such = f', e.g. {", ".join(repr(text) for text in each.examples)}' if each.examples else ''
        yield (f'  {each.split} in {each.other}: {each.label:,} ({each.label / count:.1%}), '
               f'{each.folded:,} ({each.folded / count:.1%}){such}')


def _facts(survey: Survey, title: str, expected: Mapping[str, int], tallies: Mapping[str, Tally],
           shared: Sequence[Shared]) -> dict[str, Any]:
    """What report.json holds."""
    return {
        'set': title, 'folded': survey.fold.said,
        'splits': {split: _split_facts(tally, expected[split] if split in expected else None)
                   for split, tally in tallies.items()},
        **{kind: {reason: {'count': count, 'examples': survey.listed[kind, reason]}
                  for reason, count in ranked(counts)}
           for kind, counts in survey.problems.items()},
        'shared_labels': [each._asdict() for each in shared],
    }


def _split_facts(tally: Tally, expected: int | None) -> dict[str, Any]:
    return {
        'records': tally.count, 'expected': expected,
        'different_labels': _distinct(tally, 'label'), 'different_folded': _distinct(tally, 'folded'),
        'means': {measure: round(tally.mean(measure), 3) for measure in MEASURES},
        'fitting': {f'{height}x{width}': round(share, 4)
                    for (height, width), share in tally.fitting().items()},
        'quantiles': {measure: tally.quantiles(measure) for measure in MEASURES},
        'counts': {measure: dict(sorted(tally.counters[measure].items())) for measure in MEASURES},
        'labels_with_characters_outside': {name: tally.counters['outside'][name] for name in SETS},
        'characters': dict(ranked(tally.counters['character'])),
    }


def _distinct(tally: Tally, kind: str) -> int:
    return len(np.unique(np.asarray(tally.hashes[kind])))
