"""Which sets are test sets of the literature, and the groups that they form."""

from collections.abc import Iterable

# The ten, by the names under which datasets/benchmarks.py prepares them, with the words that they have.
SETS = {'iiit5k': 3000, 'svt': 647, 'ic03/860': 860, 'ic03/867': 867, 'ic13/857': 857, 'ic13/1015': 1015,
        'ic15/1811': 1811, 'ic15/2077': 2077, 'svtp': 645, 'cute80': 288}
# Those of Union14M's benchmark, and of long and of occluded words, from the same script.
UNION14M = {'u14m/curve': 2426, 'u14m/multi_oriented': 1369, 'u14m/artistic': 900, 'u14m/contextless': 779,
            'u14m/salient': 1585, 'u14m/multi_words': 829, 'u14m/general': 400_000}
SPECIAL = {'ltb': 3376, 'ost': 4832}
COUNTS = {**SETS, **UNION14M, **SPECIAL}
# Their names mean the test part unless another split is named.
BENCHMARKS = tuple(dict.fromkeys(name.partition('/')[0] for name in COUNTS))
# What may be asked for by one name.
GROUPS = {
    'benchmarks': tuple(f'{name}:test' for name in SETS),
    'challenges': tuple(f'{name}:test' for name in (*UNION14M, *SPECIAL)),
    'maths': ('crohme/bitmaps:test_2014', 'crohme/bitmaps:test_2016', 'crohme/bitmaps:test_2019',
              'hme100k:test', 'latex_ocr/published:test', 'latex_ocr/disjoint:test'),
}


# Data sets of which papers report the test part.
REPORTED = {*BENCHMARKS, *(name.partition('/')[0].partition(':')[0] for name in GROUPS['maths'])}


def is_reported(name: str) -> bool:
    """Whether a set NAME[/CONFIG][:SPLIT] holds what papers report: nobody may train on it."""
    return is_test(name) and name.lower().partition(':')[0].partition('/')[0] in REPORTED


def expanded(names: Iterable[str]) -> tuple[str, ...]:
    """The sets of these names, those of a group for its name; none twice."""
    every = (each for name in names for each in (GROUPS[name] if name in GROUPS else (name,)))
    return tuple(dict.fromkeys(every))


def is_test(name: str) -> bool:
    """Whether a set NAME[/CONFIG][:SPLIT] is a benchmark's test part."""
    path, _, split = name.lower().removeprefix('hf:').partition(':')
    if split:
        return 'test' in split
    words = path.replace('_', '/').split('/')
    if {'train', 'training', 'validation'} & set(words):
        return False
    return any(word.startswith('test') or word == 'evaluation' or word in BENCHMARKS for word in words)
