"""What a model reads of corrupted images: kept in a folder, and compared."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from recog.errors import ConfigError
from recog.evaluation import markdown, measurements
from recog.evaluation.measurements import CONDITIONS
from recog.images.corrupt import CORRUPTIONS, SEVERITIES
from recog.workdir import files
from recog.workdir.folder import Mirror, write_whole

# By which a measurement is known: one that has the same replaces it.
KEYS = ('set', 'count', 'clean', *CONDITIONS)
Record = dict[str, Any]


def read(folder: Any) -> list[Record]:
    """The records that a folder holds."""
    file = folder / files.ROBUSTNESS
    if not file.is_file():
        return []
    try:
        found = json.loads(file.read_text(encoding='utf-8'))['measured']
        if not all(map(_is_sound, found)):
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ConfigError(f'{file} is damaged; remove it, then measure again with --corrupt') from None
    return found


def _is_sound(record: Any) -> bool:
    count, clean, corruptions = (record[name] for name in ('count', 'clean', 'corruptions'))
    numbers = [clean, *(right for rights in corruptions.values() for right in rights)]
    return set(corruptions) <= set(CORRUPTIONS) and isinstance(record['set'], str) \
        and all(len(rights) == len(SEVERITIES) for rights in corruptions.values()) \
        and all(isinstance(right, int) and 0 <= right <= count for right in numbers)


def add(folder: Any, records: Sequence[Record]) -> None:
    """Keep these records in a folder; corruptions that are measured again, or besides, join the others."""
    folder.mkdir(parents=True, exist_ok=True)
    mirror = Mirror(folder)
    stored = read(mirror.here)
    for record in records:
        same = next((each for each in stored if _alike(each, record)), None)
        if same:
            record = {**record, 'corruptions': {**same['corruptions'], **record['corruptions']}}
            stored.remove(same)
        stored.append(record)
    write_whole(mirror.here / files.ROBUSTNESS, json.dumps({'measured': stored}, indent=1) + '\n')
    mirror.close()


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in KEYS)


def conditions(record: Mapping[str, Any]) -> str:
    """How a record was measured, in words."""
    return measurements.conditions(record)


def mean(record: Mapping[str, Any], names: Sequence[str] = ()) -> float:
    """The mean accuracy over all severities of these corruptions, or of all that were measured."""
    rights = [right for name in names or record['corruptions'] for right in record['corruptions'][name]]
    return sum(rights) / max(len(rights) * record['count'], 1)


def table(record: Mapping[str, Any]) -> str:
    """A record in Markdown: a row for each corruption, a column for each severity, and the mean."""
    said = (f'{record["set"]}, {record["count"]:,} images, protocol {record["protocol"]}: '
            f'{_share(record["clean"], record)} right as they are, {mean(record):.2%} in the mean of '
            'what follows.')
    return f'{said}\n\n{markdown.table(heads(), rows(record))}'


def heads() -> list[str]:
    """The heads of the table."""
    return ['corruption', *map(str, SEVERITIES), 'mean', 'what the severities are']


def rows(record: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table, in the order in which corruptions are listed."""
    return [[name, *(_share(right, record) for right in record['corruptions'][name]),
             f'{mean(record, [name]):.2%}',
             f'{", ".join(f"{each:g}" for each in kind.strengths)}: {kind.meaning}']
            for name, kind in CORRUPTIONS.items() if name in record['corruptions']]


def side_by_side(named: Mapping[str, Mapping[str, Any]]) -> str:
    """Records of the same images by several readers, as one table of means; of two also their difference."""
    every = list(named.values())
    common = [name for name in CORRUPTIONS if all(name in each['corruptions'] for each in every)]
    lines = [['as they are', *(each['clean'] / max(each['count'], 1) for each in every)],
             *([name, *(mean(each, [name]) for each in every)] for name in common),
             ['mean of all corruptions', *(mean(each, common) for each in every)]]
    apart = len(every) == 2
    shown = [[name, *(f'{share:.2%}' for share in shares),
              *([f'{shares[1] - shares[0]:+.2%}'] if apart else [])] for name, *shares in lines]
    first = every[0]
    return (f'{first["set"]}, {first["count"]:,} images; accuracy in the mean of five severities\n\n'
            + markdown.table([first['set'], *named, *(['difference'] if apart else [])], shown))


def _share(right: int, record: Mapping[str, Any]) -> str:
    return f'{right / max(record["count"], 1):.2%}'
