"""Tables on a terminal: aligned, and no wider than it is."""

from recog.evaluation import markdown, terminal


def test_columns_are_aligned_numbers_to_the_right():
    given = '## Sets\n\n' + markdown.table(['set', 'right'], [['a|b <c', '12'], ['d', '3']])
    assert terminal.shown(given, 80).splitlines() == [
        'Sets', '', 'set     right', '------  -----', 'a|b <c     12', 'd           3']


def test_what_does_not_fit_is_wrapped():
    said = terminal.shown(markdown.table(['average', 'definition'], [['x', 'word ' * 30]]), 60).splitlines()
    assert max(map(len, said)) <= 60 and said[2].startswith('x        word') and said[3].startswith(' ' * 9)


def test_columns_that_do_not_fit_follow_below_beside_the_first():
    heads = ['set', *(f'figure {number}' for number in range(12))]
    said = terminal.shown(markdown.table(heads, [['some:test', *['12.34%'] * 12]]), 60)
    assert max(map(len, said.splitlines())) <= 60 and said.count('some:test') == 3
    assert said.count('12.34%') == 12


def test_lines_are_wrapped_and_lists_indented():
    said = terminal.shown('- ' + 'word ' * 30, 60).splitlines()
    assert max(map(len, said)) <= 60 and said[1].startswith('  word')
