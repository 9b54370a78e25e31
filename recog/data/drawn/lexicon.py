"""The words that are drawn: invented by a character model or from a list, in three splits that share none."""

from collections.abc import Callable, Sequence
from pathlib import Path

from recog.data.drawn import codes
from recog.data.drawn.codes import DIGITS, LETTERS
from recog.data.drawn.dice import SPLITS, Dice, split_of
from recog.errors import ConfigError

PLAIN = frozenset(DIGITS + LETTERS + LETTERS.upper())  # what every font has
# Signs have words of up to so many letters more often than dictionaries; with an apostrophe a word counts as
# longer.
SHORT, LONGER = 5, 6
# The share of names of two words, and of web addresses, on signs; and how many letters both have at most.
JOINED, LONGEST_JOINED = 0.06, 14
# What is listed twice is twice as frequent.
_ONSETS = ('b c d f g h j k l m n p r s t v w y z b c d f g l m n p r s t c d m p r s t bl br ch cl cr dr fl '
           'fr gl gr ph pl pr qu sc sh sk sl sm sn sp st st str sw th th tr tr wh x').split() + ['', '', '']
_NUCLEI = 'a e i o u a e i o u a e i o e y ai au ea ee ie io oa oi oo ou ue'.split()
_CODAS = ('n n r r s t l m d c b g p k x ck ct ft ld ll lt mp nd ng nk nt rd rk rm rn rt ss st th w y'.split()
          + [''] * 24)
_ENDINGS = ('able al ance ed ed ence er er es est ful ic ing ing ion ism ist ity ive less ly ment ness or '
            'ous s s s tion').split()


class Lexicon:
    """The words of one split: those of a list, else invented ones of letters[0] to letters[1] characters."""

    def __init__(self, path: str, split: str, letters: Sequence[int], alphabets: Sequence[frozenset[str]], *,
                 codes: float = 0.0, marks: float = 0.0, short: float = 0.0):
        """Refuses words of the list that none of the fonts' alphabets can draw, and splits without a word.

        `codes` is the share of numbers and the like, `marks` that with punctuation; in the share `short` long
        words are rarer.
        """
        if split not in SPLITS:
            raise ConfigError(f'split {split!r} of rendered words must be train, validation or test')
        self.split, self.letters, self.listed = split, tuple(letters), None
        self.codes, self.marks, self.short = codes, marks, short
        if path:
            lists = [read_list(each) for each in path.split(',')]
            _check_drawable(path, [word for words in lists for word in words], alphabets)
            self.listed = [[word for word in words if split_of(word) == split] for words in lists]
        if self.listed is not None and not all(self.listed):
            raise ConfigError(f'config.render.words={path!r} holds no word of the {split} split '
                              '(5 of 100 words are for validation, 5 for test); the list must be longer')
        # A character model of very short words may never reach a small split, and `draw` would never end.
        dice = Dice(0)
        tried = (split_of(invented(dice, self.letters)) for _ in range(5000))
        if self.listed is None and split not in tried:
            raise ConfigError(f'config.render.letters={self.letters} leaves the {split} split without '
                              'a word; allow longer ones')

    def draw(self, dice: Dice) -> str:
        """A word of this split, perhaps with punctuation."""
        text = self._plain(dice)
        return codes.marked(text, dice) if self.marks and dice.chance(self.marks) else text

    def _plain(self, dice: Dice) -> str:
        """A word of this split in lower case, capitals, or with a capital at its start."""
        if self.codes and dice.chance(self.codes):
            return self._until(lambda: codes.code(dice))
        if self.listed is None:
            return dice.pick(cases(self._until(lambda: invented(dice, self.letters))))
        word = self._listed(self.listed, dice)
        if self.short and dice.chance(JOINED):
            other = self._listed(self.listed, dice)
            if len(word) + len(other) <= LONGEST_JOINED:
                return codes.joined(word, other, dice)
        return dice.pick(cases(word))

    def _listed(self, lists: Sequence[Sequence[str]], dice: Dice) -> str:
        """A word of one of the lists."""
        words = lists[0] if len(lists) == 1 else dice.pick(lists)
        word = dice.pick(words)
        if self.short and dice.chance(self.short):
            while not dice.chance((SHORT / max(SHORT, len(word) + LONGER * ("'" in word))) ** 3):
                word = dice.pick(words)
        return word

    def _until(self, draw: Callable[[], str]) -> str:
        """The first that is drawn of this split."""
        word = draw()
        while split_of(word) != self.split:
            word = draw()
        return word


def cases(word: str) -> tuple[str, str, str]:
    """The word in lower case, Capitalised and in CAPITALS; as it is where length or letters would change."""
    forms = word.lower(), word[:1].upper() + word[1:].lower(), word.upper()
    if word.isascii():
        return forms
    if len({len(form) for form in forms}) > 1 or len({form.lower() for form in forms}) > 1:
        return word, word, word
    return forms


def invented(dice: Dice, letters: Sequence[int]) -> str:
    """A word of letters[0] to letters[1] characters: most are pronounceable, some random letters, digits."""
    length, kind = dice.whole(*letters), dice.random()
    if kind < 0.72:
        return _pronounceable(dice, length)
    alphabet = LETTERS if kind < 0.86 else DIGITS if kind < 0.95 else LETTERS + DIGITS * 2
    return ''.join([dice.pick(alphabet) for _ in range(length)])


def _pronounceable(dice: Dice, length: int) -> str:
    ending = dice.pick(_ENDINGS) if length > 4 and dice.chance(0.4) else ''
    word = ''
    while len(word) < length - len(ending):
        word += dice.pick(_ONSETS) + dice.pick(_NUCLEI) + dice.pick(_CODAS)
    return word[:length - len(ending)] + ending


def read_list(path: str) -> list[str]:
    """The different words of a list file, one a line; empty lines do not count, nor does the case."""
    if not Path(path).is_file():
        raise ConfigError(f'config.render.words={path!r} must be a text file with one word a line')
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f'config.render.words={path!r} must be UTF-8 text; '
                          f'byte {error.start} is not') from None
    words = {line.strip().lower(): line.strip() for line in lines if line.strip()}
    if not words:
        raise ConfigError(f'config.render.words={path!r} is empty; it must hold one word a line')
    return list(words.values())


def _check_drawable(path: str, words: Sequence[str], alphabets: Sequence[frozenset[str]]) -> None:
    """Refuse a word that no font can draw in all its cases."""
    for word in words:
        characters = set(''.join(cases(word)))
        if not characters <= PLAIN and not any(characters <= alphabet for alphabet in alphabets):
            anywhere = frozenset().union(*alphabets)
            missing = ''.join(sorted(characters - anywhere)) or 'its characters together'
            raise ConfigError(f'config.render.words={path!r}: no font can draw {missing!r} of {word!r}; '
                              'leave the word out or name a folder of fonts that can in config.render.fonts')
