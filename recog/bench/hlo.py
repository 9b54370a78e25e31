"""The text of compiled programs (HLO): their operations, and how often each runs."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

INSIDE = {'while': ('body', 'condition'), 'call': ('to_apply',), 'async-start': ('calls',),
          'conditional': ('branch_computations', 'true_computation', 'false_computation')}
# Operations that take no time, and so cannot hide a transfer.
IDLE = frozenset('parameter constant tuple get-tuple-element bitcast after-all partition-id replica-id '
                 'opt-barrier'.split())
NAME, ARRAY = re.compile(r'%([\w.\-]+)'), re.compile(r'\b([a-z]+)(\d*)\w*\[([\d,<= ]*)\]')
LINE = re.compile(r'\s+(?:ROOT )?%([\w.\-]+) = ')
HEAD = re.compile(r'(ENTRY )?%([\w.\-]+) .*\{\s*$')


class Operation(NamedTuple):
    """One line of a compiled program."""

    name: str
    kind: str
    results: tuple[int, ...]  # bytes of each array
    operands: tuple[str, ...]
    given: str  # the text in its brackets: operands, or the number of a parameter
    rest: str  # its attributes
    root: bool

    @property
    def bytes(self) -> int:
        """Bytes of all results."""
        return sum(self.results)

    @property
    def place(self) -> str:
        """Where in the model it comes from, such as 'backward: backbone/conv_4/conv/conv_general_dilated'."""
        found = re.search(r'op_name="(?:jit\(\w+\)/)?([^"]*)"', self.rest)
        backward = re.sub(r'transpose\(jvp\([\w.]*\)\)/', 'backward: ', found[1] if found else '')
        return re.sub(r'jit\(\w+\)/', '', re.sub(r'jvp\([\w.]*\)/', 'forward: ', backward))

    def computations(self, *attributes: str) -> list[str]:
        """The computations that these attributes name."""
        found = []
        for attribute in attributes:
            given = re.search(rf'\b{attribute}=(\{{[^}}]*\}}|%[\w.\-]+)', self.rest)
            found += NAME.findall(given[1]) if given else []
        return found


class Program(NamedTuple):
    """The computations of a compiled program, each in the order of its operations."""

    entry: str
    computations: dict[str, list[Operation]]


def parse(text: str) -> Program:
    """A compiled program from its text (`compiled.as_text()`)."""
    computations: dict[str, list[Operation]] = {}
    entry, current = '', None
    for line in text.splitlines():
        head = None if line.startswith(' ') else HEAD.match(line)
        if head:
            current = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif current is not None and (found := LINE.match(line)):
            current.append(_operation(found[1], re.sub(r'/\*.*?\*/', '', line[found.end():]),
                                      'ROOT' in found[0]))
    return Program(entry, computations)


def _operation(name: str, text: str, root: bool) -> Operation:
    shape = text[:_closing(text, 0)] if text.startswith('(') else text[:text.index(' ')]
    text = text[len(shape):].lstrip()
    opening = text.index('(')
    end = _closing(text, opening)
    return Operation(name, text[:opening], tuple(_arrays(shape)), tuple(NAME.findall(text[opening:end])),
                     text[opening + 1:end - 1], text[end:], root)


def _closing(text: str, start: int) -> int:
    """The index after the bracket that closes the one at `start`."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == '(') - (text[place] == ')')
        if not depth:
            return place + 1
    return len(text)


def _arrays(shape: str) -> Iterator[int]:
    """Bytes of each array of a shape such as '(f32[2,3]{1,0}, pred[])'."""
    for kind, bits, sizes in ARRAY.findall(shape):
        width = int(bits) if bits else 8 * (kind == 'pred')  # a token has no size
        yield math.ceil(math.prod(int(size.strip(' <='))
                                  for size in sizes.split(',') if size.strip()) * width / 8)


def executed(program: Program, computation: str = '', times: int = 1) -> Iterator[tuple[Operation, str, int]]:
    """Every operation, its computation, and how often it runs: inside a loop once
    per step, if XLA knows the number of steps.

    Every branch of a conditional counts; a fusion counts as one operation.
    """
    computation = computation or program.entry
    for operation in program.computations[computation]:
        yield operation, computation, times
        if operation.kind in INSIDE:
            for inner in operation.computations(*INSIDE[operation.kind]):
                yield from executed(program, inner, times * (steps(operation) or 1))


def steps(loop: Operation) -> int:
    """The number of steps of a loop, 0 if XLA does not know it."""
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.rest)
    return int(known[1]) if known else 0
