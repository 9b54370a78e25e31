"""What stands on signs besides plain words: numbers, codes, single letters, and punctuation."""

import string

from recog.data.drawn.dice import Dice

LETTERS = 'abcdefghijklmnopqrstuvwxyz'
DIGITS = '0123456789'
UNITS = 'km kg g ml l cm mm m am pm th st nd rd x p A B C'.split()
ENDS = '. . , , : ! ! ? ; ... \''.split()
DOMAINS = 'com com com org net co.uk info'.split()
AROUND = ('()', '""', "''", '[]', '--', '##')


def code(dice: Dice) -> str:
    """A number, a code or a few letters."""
    kind = dice.random()
    if kind < 0.4:
        return _digits(dice, 1 + int(8 * dice.random() ** 1.7))
    if kind < 0.5:
        return str(dice.whole(1900, 2030))
    if kind < 0.6:
        return f'{dice.whole(1, 999)}{dice.pick(UNITS)}'
    text = _digits(dice, dice.whole(1, 3)) if kind < 0.7 else ''
    length = dice.whole(1, 3) if kind < 0.8 else dice.whole(2, 6)
    alphabet = LETTERS if kind < 0.9 else LETTERS + DIGITS * 2
    text = ''.join([dice.pick(alphabet) for _ in range(length)]) + text
    return text.upper() if dice.chance(0.7) else text


def joined(first: str, second: str, dice: Dice) -> str:
    """Two words as a name in one, each with a capital or the second in capitals, or one as a web address."""
    kind = dice.random()
    if kind < 0.35:
        return f'{dice.pick(("www.", "www.", ""))}{first.lower()}.{dice.pick(DOMAINS)}'
    return first.capitalize() + (second.capitalize() if kind < 0.85 else second.upper())


def marked(text: str, dice: Dice) -> str:
    """A text with punctuation: at its end, around it or within; of a number perhaps a price or a share."""
    kind = dice.random()
    if text.isdigit() and kind < 0.7:
        whole = text[:4]
        cents = _digits(dice, 2)
        return dice.pick((f'${whole}', f'${whole}.{cents}', f'{whole}.{cents}', f'{whole}%', f'+{text}',
                          f'{whole[:2]}:{cents}', f'#{whole}', f'{whole}/{cents}', f'{whole}-{cents}'))
    if kind < 0.5:
        return text + dice.pick(ENDS)
    if kind < 0.65:
        start, end = dice.pick(AROUND)
        return f'{start}{text}{end}'
    place = dice.whole(0, len(text))
    return text[:place] + dice.pick("-'&./" if kind < 0.85 else string.punctuation) + text[place:]


def _digits(dice: Dice, length: int) -> str:
    return ''.join([dice.pick(DIGITS) for _ in range(length)])
