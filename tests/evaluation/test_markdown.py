"""Tables in Markdown hold any text."""

from recog.evaluation import markdown


def test_bars_lines_and_html_do_not_break_a_table():
    rows = [['a|b\nc', '<img src=x onerror="alert(1)"> & </td>'], ['x < y', '1']]
    said = markdown.table(['set', 'read'], rows)
    assert said.splitlines() == [
        '| set | read |', '|---|---|', r'| a\|b c | &lt;img src=x onerror="alert(1)"> & &lt;/td> |',
        '| x &lt; y | 1 |']
