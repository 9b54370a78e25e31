"""Expressions for the embedded formulas: tokens in CROHME's normal form, in three splits that share none.

Symbols and structures are as frequent as in the captions of CROHME's training set.
"""

import zlib
from bisect import bisect
from collections.abc import Iterable, Sequence
from itertools import accumulate

from recog.data.drawn.dice import SPLITS, Dice
from recog.errors import ConfigError
from recog.text.normal_form import SPELLED

_SPLIT_OF = [split for split, parts in SPLITS.items() for _ in parts]

# The symbols, the most frequent first, and how many of 10,000 tokens of the captions each is.
_COUNTS = (
    r'1 453 2 452 + 395 x 368 - 315 ( 288 ) 288 = 264 a 181 3 180 n 164 0 129 y 129 4 119 b 117 z 78 d 78 '
    r'5 73 i 70 c 69 6 58 \sin 57 7 55 8 53 9 53 t 50 f 49 \sum 46 k 45 , 45 \int 44 \times 44 \cos 42 p 41 '
    r'\theta 40 \pi 36 r 36 m 35 e 34 | 33 \alpha 28 \infty 27 [ 25 ] 25 u 23 g 23 q 23 j 22 \rightarrow 22 '
    r'\log 22 \beta 22 \lim 21 \tan 21 v 21 X 20 A 20 h 20 C 19 . 18 B 17 s 17 \leq 16 / 14 R 14 \limits 14 '
    r'F 12 \pm 11 \div 11 \cdots 11 \geq 11 \cdot 11 E 11 w 10 L 10 N 10 l 9 S 9 Y 9 o 8 \neq 8 P 8 V 8 < 8 '
    r'H 7 M 7 ! 7 T 7 \ldots 7 \gamma 7 G 6 \phi 6 I 5 \{ 5 \} 5 \prime 5 > 4 \sigma 4 '
    r"\mu 3 \Delta 3 \lambda 2 ' 1 \in 1 \forall 1 \exists 1").split()
FREQUENCY = dict(zip(_COUNTS[::2], map(int, _COUNTS[1::2]), strict=True))

DIGITS = tuple('0123456789')
NAMES = tuple(r'a b c d e f g h i j k l m n o p q r s t u v w x y z A B C E F G H I L M N P R S T V X Y '
              r'\alpha \beta \gamma \theta \lambda \mu \pi \sigma \phi \Delta'.split())
COUNTERS = tuple('i n k m j'.split())
RELATIONS = tuple(r'= < > \leq \geq \neq \rightarrow \in'.split())
SIGNS = tuple(r'+ - \times \cdot \div \pm /'.split())
FUNCTIONS = tuple(r'\sin \cos \tan \log'.split())
PRIMES = (r'\prime', "'")
BRACKETS = (('(', ')', 288), ('[', ']', 25), ('|', '|', 16), (r'\{', r'\}', 5))
TRIES = 20_000  # formulas; where none is what is asked for, none is
_SPELLED = tuple(' '.join(name) for name in SPELLED)  # letters that the normal form would join


def split_of(text: str) -> str:
    """The split that a formula, its tokens parted by blanks, belongs to.

    One or two tokens are for training: a held-out set of so few formulas would be the same one over and over.
    """
    return 'train' if text.count(' ') < 2 else _SPLIT_OF[zlib.crc32(text.encode()) % 100]


class Pool:
    """Things to pick from, by weight; false where there are none."""

    def __init__(self, items: Iterable, weights: Iterable[float]):
        self.items = tuple(items)
        self._sums = list(accumulate(weights))

    def __bool__(self) -> bool:
        return bool(self.items)

    def pick(self, dice: Dice):
        """One of the items."""
        return self.items[bisect(self._sums, dice.random() * self._sums[-1])]


class Grammar:
    """Formulas of so many of the most frequent symbols (0: all), with structures nested at most so `deep`."""

    def __init__(self, symbols: int, deep: int):
        known = dict(list(FREQUENCY.items())[:symbols or None])
        self.deep, self.known = deep, frozenset(known)

        def pool(tokens: Sequence[str]) -> Pool:
            kept = [token for token in tokens if token in known]
            return Pool(kept, [known[token] for token in kept])

        self.digits, self.names, self.counters, self.relations, self.signs, self.functions, self.primes = map(
            pool, (DIGITS, NAMES, COUNTERS, RELATIONS, SIGNS, FUNCTIONS, PRIMES))
        pairs = [pair for pair in BRACKETS if self.known.issuperset(pair[:2])]
        self.brackets = Pool([pair[:2] for pair in pairs], [pair[2] for pair in pairs])
        every = [(kind, weight) for kind, weight, possible in (
            (self.number, 150, self.digits), (self.name, 280, self.names), (self.fraction, 75, True),
            (self.root, 34, True), (self.function, 30, self.functions), (self.bracketed, 55, self.brackets),
            (self.sum, 10, r'\sum' in known), (self.integral, 9, r'\int' in known and self.names),
            (self.limit, 5, r'\lim' in known and self.names), (self.factorial, 1.5, '!' in known),
            (self.infinity, 2, r'\infty' in known)) if possible]
        flat = [each for each in every if each[0] not in (self.fraction, self.root, self.limit)]
        bare = [each for each in flat if each[0] in (self.number, self.name)]
        # By the structures that may still be nested: none, not even brackets; those that stay in line; all.
        self.factors = [Pool(*zip(*kinds, strict=True)) for kinds in (bare, flat, every)]

    def draw(self, dice: Dice, tokens: Sequence[int], split: str) -> list[str]:
        """A formula of this split with tokens[0] to tokens[1] tokens."""
        least, most = tokens
        for _ in range(TRIES):
            found = self.formula(dice, least + int((most - least + 1) * dice.random() ** 1.75))
            if least <= len(found) <= most:
                text = ' '.join(found)
                if split_of(text) == split and not any(word in text for word in _SPELLED):
                    return found
        raise ConfigError(f'config.formulas.tokens={tuple(tokens)}: no formula of the {split} split has so '
                          'many tokens; allow more lengths, a larger config.formulas.depth or more '
                          'config.formulas.symbols')

    def formula(self, dice: Dice, wanted: int) -> list[str]:
        """A formula of about so many tokens."""
        kind = dice.random()
        if kind < 0.003 and {r'\forall', r'\exists', r'\in'} <= self.known:
            return [dice.pick((r'\forall', r'\exists')), *self.name(dice, 1), r'\in', *self.name(dice, 1)]
        if kind < 0.08 and ',' in self.known:
            return self.listed(dice, wanted)
        if wanted < 3 or kind < 0.5 or not self.relations:
            return self.expression(dice, wanted, self.deep)
        left = self.expression(dice, int(wanted * dice.uniform(0.1, 0.6)), self.deep)
        found = [*left, self.relations.pick(dice)]
        return found + self.expression(dice, wanted - len(found), self.deep)

    def listed(self, dice: Dice, wanted: int) -> list[str]:
        """Some things with commas between them."""
        count = dice.whole(2, 3)
        parts = [self.expression(dice, wanted // count - 1, self.deep) for _ in range(count)]
        if r'\ldots' in self.known and dice.chance(0.4):
            parts.insert(-1, [r'\ldots'])
        return [token for part in parts for token in (*part, ',')][:-1]

    def expression(self, dice: Dice, wanted: int, deep: int) -> list[str]:
        """Terms with signs between them."""
        found = ['-'] if '-' in self.known and dice.chance(0.05) else []
        found += self.term(dice, wanted, deep)
        while len(found) + 1 < wanted and self.signs:
            if r'\cdots' in self.known and dice.chance(0.02):
                found += ['+', r'\cdots'] if '+' in self.known else [r'\cdots']
            found += [self.signs.pick(dice), *self.term(dice, wanted - len(found), deep)]
        return found

    def term(self, dice: Dice, wanted: int, deep: int) -> list[str]:
        """Factors side by side; a number stands first."""
        found: list[str] = []
        for _ in range(1 + (wanted > 1 and dice.chance(0.35)) + (wanted > 3 and dice.chance(0.15))):
            kind = self.factors[min(max(deep, -1), 1) + 1].pick(dice)
            if found and kind == self.number:
                continue
            factor = kind(dice, deep)
            found += self._scripted(dice, factor, deep) if kind in (self.name, self.bracketed) else factor
        return found

    def small(self, dice: Dice, deep: int) -> list[str]:
        """What stands in a script, in a fraction, in a root."""
        kind = dice.random()
        if kind < 0.4 and self.digits:
            return [self.digits.pick(dice)]
        if kind < 0.65 and self.names:
            return [self.names.pick(dice)]
        return self.expression(dice, dice.whole(1, 4), deep)

    def number(self, dice: Dice, deep: int) -> list[str]:
        length = 1 + (dice.random() < 0.3) + (dice.random() < 0.12) + (dice.random() < 0.05)
        found = [self.digits.pick(dice) for _ in range(length)]
        return [*found, '.', self.digits.pick(dice)] if '.' in self.known and dice.chance(0.06) else found

    def name(self, dice: Dice, deep: int) -> list[str]:
        return [self.names.pick(dice)]

    def _scripted(self, dice: Dice, found: list[str], deep: int) -> list[str]:
        if deep < 1:
            return found
        kind = dice.random()
        if kind < 0.17:
            found = [*found, '_', '{', *self.small(dice, deep - 1), '}']
        if 0.14 < kind < 0.38:
            found = [*found, '^', '{', *self.small(dice, deep - 1), '}']
        elif kind > 0.99 and self.primes:
            found = [*found, '^', '{', self.primes.pick(dice), '}']
        return found

    def fraction(self, dice: Dice, deep: int) -> list[str]:
        def part() -> list[str]:
            if dice.chance(0.5):
                return self.small(dice, deep - 1)
            return self.expression(dice, dice.whole(1, 8), deep - 1)

        above, below = part(), part()
        return [r'\frac', '{', *above, '}', '{', *below, '}']

    def root(self, dice: Dice, deep: int) -> list[str]:
        order: list[str] = []
        if self.digits and {'[', ']'} <= self.known and dice.chance(0.05):
            order = ['[', self.digits.pick(dice), ']']
        return [r'\sqrt', *order, '{', *self.expression(dice, dice.whole(1, 6), deep - 1), '}']

    def function(self, dice: Dice, deep: int) -> list[str]:
        name, script = self.functions.pick(dice), []
        if deep > 0 and self.digits and dice.chance(0.25):
            script = ['_' if name == r'\log' else '^', '{', *self.small(dice, -1), '}']
        bare = self.name if self.names else self.number
        return [name, *script, *(self.bracketed if self.brackets and dice.chance(0.3) else bare)(dice, deep)]

    def bracketed(self, dice: Dice, deep: int) -> list[str]:
        opening, closing = self.brackets.pick(dice)
        inside = self.expression(dice, dice.whole(1, 7), deep - 1)
        return [opening, *inside, closing] if opening != '|' or '|' not in inside else inside

    def sum(self, dice: Dice, deep: int) -> list[str]:
        limits = self._limits(dice, deep) if dice.chance(0.85) else []
        return [r'\sum', *limits, *self.small(dice, deep - 1)]

    def _limits(self, dice: Dice, deep: int) -> list[str]:
        if deep < 1:
            return []
        counter = [self.counters.pick(dice)] if self.counters else []
        start = counter
        if self.digits and counter and '=' in self.known:
            start = [*counter, '=', self.digits.pick(dice)]
        end = [r'\infty'] if r'\infty' in self.known and dice.chance(0.3) else self.small(dice, -1)
        start = start or self.small(dice, -1)
        return ['_', '{', *start, '}'] + (['^', '{', *end, '}'] if dice.chance(0.8) else [])

    def integral(self, dice: Dice, deep: int) -> list[str]:
        found = [r'\int']
        if deep > 0 and dice.chance(0.5):
            found += [r'\limits'] if r'\limits' in self.known and dice.chance(0.4) else []
            found += ['_', '{', *self.small(dice, -1), '}', '^', '{', *self.small(dice, -1), '}']
        inside = self.small(dice, deep - 1)
        return [*found, *inside, 'd', *self.name(dice, deep)] if 'd' in self.known else [*found, *inside]

    def limit(self, dice: Dice, deep: int) -> list[str]:
        end = [r'\infty'] if r'\infty' in self.known and dice.chance(0.4) else self.small(dice, -1)
        goes = self.name(dice, deep)
        if r'\rightarrow' in self.known:
            goes = [*goes, r'\rightarrow', *end]
        return [r'\lim', '_', '{', *goes, '}', *self.small(dice, deep - 1)]

    def factorial(self, dice: Dice, deep: int) -> list[str]:
        return [*(self.name if self.names else self.number)(dice, deep), '!']

    def infinity(self, dice: Dice, deep: int) -> list[str]:
        return [r'\infty']
