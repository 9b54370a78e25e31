"""Which sets are test sets of the literature, and the groups that they form."""


# The sets of the literature whose name means the test part unless another split is named.
BENCHMARKS = ('iiit5k', 'svt', 'ic03', 'ic13', 'ic15', 'svtp', 'cute80')


def is_test(name: str) -> bool:
    """Whether a set NAME[/CONFIG][:SPLIT] is a benchmark's test part."""
    path, _, split = name.lower().partition(':')
    if split:
        return 'test' in split
    words = path.replace('_', '/').split('/')
    if {'train', 'training', 'validation'} & set(words):
        return False
    return any(word.startswith('test') or word == 'evaluation' or word in BENCHMARKS for word in words)
