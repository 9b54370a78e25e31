"""What a preparation says of the set it made: counts, what was rejected, sizes, characters, labels that splits share.

Counters and 64-bit hashes are kept of the records, not their texts. Labels of two splits are the same where hashes agree: as
given, and folded (NFKC, lower case, white space removed).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from recog.errors import ConfigError
from recog.prepare.tally import MEASURES, MOST_TOKENS, QUANTILES, SETS, Shared, Tally, folded, hashed, named, ranked, spread

LISTED = 5     # problems of each kind that the report names
SAMPLE = 1000  # labels of each split among which the report looks for examples of shared ones


class Survey:
    """What is known of a set while it is written; problems go to rejected.tsv and noted.tsv at once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.tallies: dict[str, Tally] = {}
        self.problems: dict[str, Counter[str]] = {'rejected': Counter(), 'noted': Counter()}
        self.listed: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._files: dict[str, Any] = {}

    def add(self, tallies: Mapping[str, Tally], problems: Sequence[tuple[str, str, str, str, str]]) -> None:
        """Take up what a chunk of tasks gave; a problem is kind, split, id, reason, detail."""
        for split, tally in tallies.items():
            self.tallies.setdefault(split, Tally()).merge(tally)
        for kind, split, name, reason, detail in problems:
            self.problems[kind][reason] += 1
            if len(self.listed[kind, reason]) < LISTED:
                self.listed[kind, reason].append(f'{name}{f" ({detail})" if detail else ""}')
            if kind not in self._files:
                self._files[kind] = (self.folder / f'{kind}.tsv').open('w', encoding='utf-8', errors='backslashreplace')
                self._files[kind].write('split\tid\treason\tdetail\n')
            self._files[kind].write('\t'.join(' '.join(field.split()) for field in (split, name, reason, detail)) + '\n')

    def close(self) -> None:
        """Close the lists."""
        for file in self._files.values():
            file.close()

    def problem_line(self) -> str:
        """'rejected 3: image cannot be decoded 3', or nothing."""
        return '; '.join(f'{kind} {counts.total():,}: ' + ', '.join(f'{reason} {count:,}' for reason, count in ranked(counts))
                         for kind, counts in self.problems.items() if counts)

    def check_ids(self, records: Mapping[str, Any]) -> None:
        """Refuse a set in which two records of a split have one id; `records` gives random access to a split."""
        for split, tally in self.tallies.items():
            ids = np.asarray(tally.hashes['id'])
            order = np.argsort(ids, kind='stable')
            same = np.flatnonzero(ids[order[1:]] == ids[order[:-1]])
            for place in same.tolist():
                first, second = (records[split][int(order[at])]['id'] for at in (place, place + 1))
                if first == second:
                    raise ConfigError(f'id {first.decode()!r} occurs more than once in split {split}')

    def shared(self, records: Mapping[str, Any]) -> list[Shared]:
        """Labels that splits have in common, for every ordered pair of them."""
        unique = {(split, kind): np.unique(np.asarray(tally.hashes[kind]), return_counts=True)
                  for split, tally in self.tallies.items() for kind in ('label', 'folded')}
        found = []
        for split, other in permutations(self.tallies, 2):
            counts = {}
            for kind in ('label', 'folded'):
                values, numbers = unique[split, kind]
                counts[kind] = int(numbers[np.isin(values, unique[other, kind][0], assume_unique=True)].sum())
            examples: dict[str, None] = {}
            for text in _labels(records[split]) if counts['folded'] else ():
                values = unique[other, 'folded'][0]
                place = np.searchsorted(values, np.uint64(hashed(folded(text))))
                if len(examples) < 3 and place < len(values) and values[place] == hashed(folded(text)):
                    examples[text] = None
            found.append(Shared(split, other, counts['label'], counts['folded'], list(examples)))
        return found

    def report(self, title: str, expected: Mapping[str, int], records: Mapping[str, Any]) -> list[str]:
        """Write report.txt, report.json and report.png; returns the lines that matter most, for the terminal."""
        from recog.prepare import sheet

        self.tallies = {split: self.tallies[split] for split in records}
        shared = self.shared(records)
        first = [f'{title}: ' + ', '.join(f'{split} {self.tallies[split].count:,}' for split in records)]
        for split, wanted in expected.items():
            count = self.tallies[split].count if split in self.tallies else 0
            if wanted != count:
                first.append(f'WARNING: split {split} has {count:,} records, the release has {wanted:,}')
        if self.problem_line():
            first.append(self.problem_line())
        lines = [line for line in first if not line.startswith(('rejected', 'noted'))]
        lines += [*self._problem_lines(), *self._split_lines(records), *_shared_lines(shared, self.tallies)]
        (self.folder / 'report.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8', errors='backslashreplace')
        (self.folder / 'report.json').write_text(json.dumps(self._facts(title, expected, records, shared), indent=1) + '\n')
        sheet.draw(self, title, records, shared, self.folder / 'report.png')
        self._dictionaries()
        return first

    def _dictionaries(self) -> None:
        """Write characters.txt and, where labels have several tokens, tokens.txt: of the training, for config.text.charset."""
        tally = self.tallies['train'] if 'train' in self.tallies else next(iter(self.tallies.values()))
        several = len(tally.counters['token']) <= MOST_TOKENS and tally.count and tally.quantiles('tokens')['max'] > 1
        for name, kind in (('characters', 'character'), *([('tokens', 'token')] if several else [])):
            found = sorted(each for each in tally.counters[kind] if each not in '\r\n')
            (self.folder / f'{name}.txt').write_bytes(''.join(f'{each}\n' for each in found).encode('utf-8', 'replace'))

    def _problem_lines(self) -> Iterator[str]:
        for kind, counts in self.problems.items():
            yield ''
            yield f'{kind} {counts.total():,}' + (f', all in {kind}.tsv' if counts else '')
            for reason, count in ranked(counts):
                yield f'{count:>10,}  {reason}'
                yield from (f'{"":14}{each}' for each in self.listed[kind, reason])

    def _split_lines(self, splits: Mapping[str, Any]) -> Iterator[str]:
        for split in splits:
            tally = self.tallies[split]
            yield ''
            yield (f'split {split}: {tally.count:,} records, {_distinct(tally, "label"):,} different labels '
                   f'({_distinct(tally, "folded"):,} folded)')
            yield f'{"":34}' + ''.join(f'{name:>8}' for name in QUANTILES)
            for measure, unit in MEASURES.items():
                if measure != 'tokens' or tally.quantiles('tokens')['max'] > 1:
                    yield f'  {f"{measure}, {unit}":32}' + ''.join(f'{value:8,}' for value in tally.quantiles(measure).values())
            if tally.counters['length'][0]:
                yield f'  empty labels: {tally.counters["length"][0]:,}'
            outside = (f'{name} {tally.counters["outside"][name]:,} ({tally.counters["outside"][name] / tally.count:.2%})'
                       for name in SETS)
            yield f'  labels with characters outside the sets: {", ".join(outside)}; for 36 in lower case'
            characters = ranked(tally.counters['character'])
            strange = [f'{named(each)} {count:,}' for each, count in characters if each not in SETS['95']]
            if strange:
                yield f'  {len(strange):,} characters outside 95: {", ".join(strange[:30])}'

    def _facts(self, title: str, expected: Mapping[str, int], splits: Mapping[str, Any],
               shared: Sequence[Shared]) -> dict[str, Any]:
        return {
            'set': title,
            'splits': {split: {
                'records': self.tallies[split].count, 'expected': expected[split] if split in expected else None,
                'different_labels': _distinct(self.tallies[split], 'label'),
                'different_folded': _distinct(self.tallies[split], 'folded'),
                'quantiles': {measure: self.tallies[split].quantiles(measure) for measure in MEASURES},
                'counts': {measure: dict(sorted(self.tallies[split].counters[measure].items())) for measure in MEASURES},
                'labels_with_characters_outside': {name: self.tallies[split].counters['outside'][name] for name in SETS},
                'characters': dict(ranked(self.tallies[split].counters['character'])),
            } for split in splits},
            **{kind: {reason: {'count': count, 'examples': self.listed[kind, reason]} for reason, count in ranked(counts)}
               for kind, counts in self.problems.items()},
            'shared_labels': [each._asdict() for each in shared],
        }


def _shared_lines(shared: Sequence[Shared], tallies: Mapping[str, Tally]) -> Iterator[str]:
    if shared:
        yield ''
        yield 'records whose label stands in another split, too: as given, and folded (NFKC, lower case, no white space)'
    for each in shared:
        count = tallies[each.split].count
        such = f', e.g. {", ".join(repr(text) for text in each.examples)}' if each.examples else ''
        yield (f'  {each.split} in {each.other}: {each.label:,} ({each.label / count:.1%}), '
               f'{each.folded:,} ({each.folded / count:.1%}){such}')


def _labels(records: Any) -> Iterator[str]:
    return (records[place]['text'].decode() for place in spread(len(records), SAMPLE))  # not at once: images come along


def _distinct(tally: Tally, kind: str) -> int:
    return len(np.unique(np.asarray(tally.hashes[kind])))
