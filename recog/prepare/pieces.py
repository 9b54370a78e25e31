"""Charts of what labels are made of: characters, or the tokens of formulas."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

from recog.looks.charts import BLUE, GREEN, GREY, ORANGE, RED
from recog.prepare.tally import SETS, Tally, ranked
from recog.text.latex import UNDRAWN

CLASSES = {'36': BLUE, '62': GREEN, '94': ORANGE, 'outside 94': RED}
MOST = 64  # different ones in a chart
MONO = {'fontsize': 8, 'family': 'monospace', 'parse_math': False}


def characters(axes: Any, tallies: Mapping[str, Tally]) -> None:
    """How often each character occurs, coloured by the smallest usual set that holds it."""
    from matplotlib.patches import Patch

    total: Counter[str] = Counter()
    for tally in tallies.values():
        total.update(tally.counters['character'])
    blanks = total.pop(' ', 0)
    shown = [each for each, _ in ranked(total)[:MOST]]
    kinds = [next((name for name, members in SETS.items() if each in members), 'outside 94')
             for each in shown]
    names = [drawable(each) for each in shown]
    axes.bar(range(len(shown)), [100 * total[each] / total.total() for each in shown],
             color=[CLASSES[kind] for kind in kinds])
    axes.set_xticks(range(len(shown)), names, rotation=90 if max(map(len, names), default=0) > 1 else 0,
                    **MONO)
    axes.set_xlim(-0.7, max(len(shown), 20))
    axes.set_ylabel('% of characters', fontsize=9)
    more = f', the {len(shown)} most frequent of {len(total):,}'
    more = more if len(total) > len(shown) else f' ({len(total):,} different)'
    more += f', besides {blanks:,} blanks' if blanks else ''
    axes.set_title(f'characters{more}; the smallest usual set that holds each:', fontsize=9)
    if kinds:
        axes.legend(handles=[Patch(color=colour, label=name)
                             for name, colour in CLASSES.items() if name in kinds], fontsize=8,
                    frameon=False, loc='upper center', ncols=len(CLASSES))


def tokens(axes: Any, tallies: Mapping[str, Tally]) -> None:
    """How often each token occurs; those that no ink stands for are grey."""
    total: Counter[str] = Counter()
    for tally in tallies.values():
        total.update(tally.counters['token'])
    shown = [each for each, _ in ranked(total)[:MOST]]
    axes.bar(range(len(shown)), [100 * total[each] / total.total() for each in shown],
             color=[GREY if each in UNDRAWN else BLUE for each in shown])
    axes.set_xticks(range(len(shown)), [drawable(each) for each in shown], rotation=90, **MONO)
    axes.set_xlim(-0.7, max(len(shown), 20))
    axes.set_ylabel('% of tokens', fontsize=9)
    more = f', the {len(shown)} most frequent of {len(total):,}' if len(total) > len(shown) else \
        f' ({len(total):,} different)'
    axes.set_title(f'LaTeX tokens{more}; grey: no ink stands for them', fontsize=9)


def drawable(text: str) -> str:
    """The text, with code points for characters that the font lacks; matplotlib would warn and draw boxes."""
    return ''.join(each if 32 <= ord(each) < 127 or _has(each) else f'U+{ord(each):04X}' for each in text)


@cache
def _has(character: str) -> bool:
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont('DejaVu Sans Mono'))
    return character.isprintable() and bool(font.get_char_index(ord(character)))
