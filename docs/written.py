"""Words and tables as Markdown."""

import re
from collections.abc import Sequence

EMPTY = re.compile(r"(?<!\S)(''|' ')(?![^\s,;:.)])")  # texts that would look like quotation marks


def text(words: str) -> str:
    """Words of the code as Markdown: what stands in backticks stays as it is."""
    words = EMPTY.sub(r'`\1`', words)
    return ''.join(part.replace('|', r'\|') if part.startswith('`') else
                   re.sub(r'([\\*_<>\[\]|])', r'\\\1', part) for part in re.split(r'(`[^`\n]+`)', words))


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return '\n'.join(f'| {" | ".join(line)} |' for line in (heads, ['---'] * len(heads), *lines))


def explained_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose last column holds sentences; on a phone it stays wide enough for them."""
    return f'<div class="explained">\n\n{table(heads, lines)}\n\n</div>'
