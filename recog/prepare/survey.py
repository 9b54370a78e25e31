"""Statistics of a set, gathered while it is written: counts of its
records, problems, and labels that splits share.

Only counters and 64-bit hashes are kept of the records, not their texts. Two labels are the same if their
hashes are: as given, and folded.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from recog.errors import ConfigError
from recog.prepare.folding import Fold
from recog.prepare.tally import Shared, Tally, hashed, ranked, spread

LISTED = 5     # problems of each kind that the report names
EXAMPLES = 3   # shared labels that the report names for two splits
SAMPLE = 1000  # labels of each split among which the report looks for examples of shared ones


class Survey:
    """Statistics of a set, gathered while it is written; problems are written
    to rejected.tsv and noted.tsv at once."""

    def __init__(self, folder: Path, fold: Fold):
        self.folder, self.fold = folder, fold
        self.tallies: dict[str, Tally] = {}
        self.problems: dict[str, Counter[str]] = {'rejected': Counter(), 'noted': Counter()}
        self.listed: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._files: dict[str, Any] = {}

    def add(self, tallies: Mapping[str, Tally], problems: Sequence[tuple[str, str, str, str, str]]) -> None:
        """Add the results of a chunk of tasks; a problem is kind, split, id, reason, detail."""
        for split, tally in tallies.items():
            self.tallies.setdefault(split, Tally()).merge(tally)
        for kind, split, name, reason, detail in problems:
            self.problems[kind][reason] += 1
            if len(self.listed[kind, reason]) < LISTED:
                self.listed[kind, reason].append(f'{name}{f" ({detail})" if detail else ""}')
            if kind not in self._files:
                self._files[kind] = (self.folder / f'{kind}.tsv').open('w', encoding='utf-8',
                                                                       errors='backslashreplace')
                self._files[kind].write('split\tid\treason\tdetail\n')
            self._files[kind].write('\t'.join(' '.join(field.split())
                                              for field in (split, name, reason, detail)) + '\n')

    def close(self) -> None:
        """Close the lists."""
        for file in self._files.values():
            file.close()

    def problem_line(self) -> str:
        """'rejected 3: image cannot be decoded 3', or nothing."""
        return '; '.join(f'{kind} {counts.total():,}: '
                         + ', '.join(f'{reason} {count:,}' for reason, count in ranked(counts))
                         for kind, counts in self.problems.items() if counts)

    def check_ids(self, records: Mapping[str, Any]) -> None:
        """Refuse a set in which two records of a split have one id;
        `records` gives random access to a split."""
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
        unique = {(split, kind): np.unique(np.asarray(self.tallies[split].hashes[kind]), return_counts=True)
                  for split in records for kind in ('label', 'folded')}
        found = []
        for split, other in permutations(records, 2):
            counts = {}
            for kind in ('label', 'folded'):
                values, numbers = unique[split, kind]
                both = np.isin(values, unique[other, kind][0], assume_unique=True)
                counts[kind] = int(numbers[both].sum())
            examples = (self._examples(records[split], unique[other, 'folded'][0]) if counts['folded']
                        else [])
            found.append(Shared(split, other, counts['label'], counts['folded'], examples))
        return found

    def _examples(self, records: Any, hashes: np.ndarray) -> list[str]:
        """A few labels whose hashes are among the sorted `hashes`, which belong to another split."""
        found: dict[str, None] = {}
        for text in _labels(records):
            own = hashed(self.fold.make(text))
            place = np.searchsorted(hashes, np.uint64(own))
            if len(found) < EXAMPLES and place < len(hashes) and hashes[place] == own:
                found[text] = None
        return list(found)


def _labels(records: Any) -> Iterator[str]:
    # One by one, because each record comes with its image.
    return (records[place]['text'].decode() for place in spread(len(records), SAMPLE))
