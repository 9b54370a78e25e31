"""Pickles read without running anything, by a machine of our own that knows data, calls of exactly the
functions in a table, and nothing else.

Python's unpickler would do what a file says: fill a memo of any size, hash tuples that are nested a million
times, set the state of any object. Here memory and time are bounded by the size of the file.
"""

import codecs
import functools
import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

FACTOR, ROOM = 4, 1 << 26  # a file may unfold to so many times its bytes, and so many more
MOST_STEPS = 4_000_000  # instructions of one pickle; an array takes about 40, a million take about a second
STEP, ENTRY, PLACE = 64, 100, 32  # bytes for an instruction, an entry of a dictionary, a place of a list
MOST_ARGUMENTS = 16
KEYS = (str, bytes, int, bool, type(None))  # all else may take long to hash
# Instructions whose argument is the value, and those that always give the same value.
VALUES = {'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT', 'STRING',
          'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8',
          'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'}
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'EMPTY_TUPLE': ()}


class Damaged(ValueError):
    """A file whose content contradicts itself, or that asks for what no weights need."""


class Budget:
    """How many bytes a file may still unfold to."""

    def __init__(self, size: int):
        self.left = FACTOR * size + ROOM

    def spend(self, count: int) -> None:
        """Take so many bytes, or refuse."""
        self.left -= count
        if self.left < 0:
            raise Damaged(f'it unfolds to more than {FACTOR} times its size and {ROOM >> 20} MB')


class Function(NamedTuple):
    """A function that pickles may call; the table of names holds other values as well, which they may only
    pass on."""

    call: Callable[..., Any]


Names = Mapping[tuple[str, str], Any]  # (module, name) to what stands for it


class Stateful:
    """What takes the state that a pickle gives after a call."""

    def build(self, state: Any) -> None:
        """Take the state, checked."""
        raise NotImplementedError


def load(file: io.BytesIO, names: Names, budget: Budget,
         persistent: Callable[[Any], Any] | None = None) -> Any:
    """The next object of a file; `persistent` resolves references to things outside the pickle.

    Python 2's strings are taken as Latin-1.
    """
    try:
        return _Machine(file, names, budget, persistent).run()
    except Damaged:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise Damaged(f'its pickle is damaged ({error})') from None


class _Machine:
    """The stack, the stacks below the marks, and the memo of one pickle."""

    def __init__(self, file: io.BytesIO, names: Names, budget: Budget,
                 persistent: Callable[[Any], Any] | None):
        self.file, self.names, self.budget, self.persistent = file, names, budget, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Follow the instructions up to STOP, and return the top of the stack."""
        for _ in range(MOST_STEPS):
            self.budget.spend(STEP)
            code = self.file.read(1)
            name, reader, step = INSTRUCTIONS.get(code, ('', None, None))
            argument = reader(self.file) if reader else None
            if name in VALUES:
                self.stack.append(argument)
            elif name == 'STOP':
                return self.stack.pop()
            elif step is None:
                raise Damaged(f'it wants {name}, which no array needs' if name else
                              f'its pickle has the byte {code.hex()} for an instruction' if code else
                              'its pickle is cut off')
            else:
                step(self, argument)
        raise Damaged(f'its pickle has more than {MOST_STEPS:,} instructions')

    def constant(self, _: Any, value: Any) -> None:
        self.stack.append(value)

    def nothing(self, _: Any) -> None:
        """PROTO and FRAME, which are for faster readers."""

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """All above the last mark, taken off with it."""
        above, self.stack = self.stack, self.below.pop()
        return above

    def short_tuple(self, _: Any, size: int) -> None:
        self.stack.append(tuple([self.stack.pop() for _ in range(size)][::-1]))

    def marked_tuple(self, _: Any) -> None:
        above = tuple(self.marked())
        self.stack.append(above)

    def marked_list(self, _: Any) -> None:
        above = self.marked()
        self.stack.append(above)

    def marked_dict(self, _: Any) -> None:
        above = self.marked()
        self.stack.append({})
        self._set(above)

    def empty(self, _: Any, kind: type) -> None:
        self.stack.append(kind())

    def append(self, _: Any) -> None:
        value = self.stack.pop()
        self._top(list).append(value)

    def appends(self, _: Any) -> None:
        above = self.marked()
        self._top(list).extend(above)

    def set_item(self, _: Any) -> None:
        key, value = self.stack[-2:]
        del self.stack[-2:]
        self._set([key, value])

    def set_items(self, _: Any) -> None:
        above = self.marked()
        self._set(above)

    def put(self, number: Any) -> None:
        self.memo[number] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, number: Any) -> None:
        self.stack.append(self.memo[number])

    def named(self, words: str) -> None:
        self._name(*words.split(' ', 1))

    def named_by_stack(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(module) is not str or type(name) is not str:
            raise Damaged('its pickle names a function by something else than text')
        self._name(module, name)

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Function) or type(arguments) is not tuple:
            raise Damaged('it wants to call what is no function that arrays need')
        if len(arguments) > MOST_ARGUMENTS:
            raise Damaged(f'it calls a function with {len(arguments)} arguments')
        self.budget.spend(PLACE * sum(len(each) for each in arguments if type(each) in (list, tuple)))
        made = function.call(*arguments)
        if isinstance(made, bytes | dict):
            self.budget.spend(len(made) * (ENTRY if isinstance(made, dict) else 1))
        self.stack.append(made)

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Stateful):
            self.stack[-1].build(state)
        elif type(self.stack[-1]) is not dict:  # whose attributes, as PyTorch's metadata, are left out
            raise Damaged('it sets the state of what has none')

    def outside(self, _: Any) -> None:
        if self.persistent is None:
            raise Damaged('it wants something from outside, which no array needs')
        self.stack.append(self.persistent(self.stack.pop()))

    def _name(self, module: str, name: str) -> None:
        if (module, name) not in self.names:
            raise Damaged(f'it wants {module}.{name}, which no array needs')
        self.stack.append(self.names[module, name])

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise Damaged(f'its pickle takes a {type(self.stack[-1]).__name__} for a {kind.__name__}')
        return self.stack[-1]

    def _set(self, pairs: Any) -> None:
        entries(self._top(dict), zip(pairs[::2], pairs[1::2], strict=True))


def entries(target: dict, pairs: Any) -> dict:
    """The dictionary with these entries added, whose keys must be plain."""
    for key, value in pairs:
        if type(key) not in KEYS or type(key) is int and key.bit_length() > 64:
            raise Damaged(f'a key of a dictionary is a {type(key).__name__}, not a name or a number')
        target[key] = value
    return target


def _string(file: io.BytesIO) -> str:
    """Python 2's string of protocol 0: a line with quotes and escapes."""
    line = file.readline().strip()
    if len(line) < 2 or line[0] not in b'\'"' or line[-1] != line[0]:
        raise Damaged('a string of its pickle has no quotes')
    return codecs.escape_decode(line[1:-1])[0].decode('latin1')  # type: ignore[attr-defined]


def _instructions() -> dict[bytes, tuple[str, Callable | None, Callable | None]]:
    """Code -> name, what reads its argument, and what it does, if it is neither refused nor in `VALUES`."""
    machine = _Machine
    steps: dict[str, Callable] = {
        'PROTO': machine.nothing, 'FRAME': machine.nothing, 'MARK': machine.mark,
        **{name: functools.partial(machine.constant, value=value) for name, value in CONSTANTS.items()},
        **{f'TUPLE{size}': functools.partial(machine.short_tuple, size=size) for size in (1, 2, 3)},
        'TUPLE': machine.marked_tuple, 'LIST': machine.marked_list, 'DICT': machine.marked_dict,
        'EMPTY_LIST': functools.partial(machine.empty, kind=list),
        'EMPTY_DICT': functools.partial(machine.empty, kind=dict),
        'APPEND': machine.append, 'APPENDS': machine.appends,
        'SETITEM': machine.set_item, 'SETITEMS': machine.set_items,
        'PUT': machine.put, 'BINPUT': machine.put, 'LONG_BINPUT': machine.put, 'MEMOIZE': machine.memoize,
        'GET': machine.get, 'BINGET': machine.get, 'LONG_BINGET': machine.get,
        'GLOBAL': machine.named, 'STACK_GLOBAL': machine.named_by_stack, 'REDUCE': machine.call,
        'BUILD': machine.build, 'BINPERSID': machine.outside}
    return {each.code.encode('latin1'):
            (each.name, _string if each.name == 'STRING' else each.arg.reader if each.arg else None,
             steps.get(each.name)) for each in pickletools.opcodes}


INSTRUCTIONS = _instructions()
