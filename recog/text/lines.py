"""Names in lines: what would end a line, or begin another column, is escaped."""

import re

BREAKS = re.compile('[\x00-\x1f\x7f\x85\u2028\u2029]')


def in_line(name: str) -> str:
    r"""The name as it may stand in a line with tabs between its columns: a newline as \n, a tab as \t."""
    return BREAKS.sub(lambda found: found[0].encode('unicode_escape').decode(), name)
