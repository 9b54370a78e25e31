"""The layers of a model as a table: input, output, parameters, statistics and
multiply-adds of each, read from its jaxpr.

A layer is a module. An operation without a module of its own, such as
pooling, is a layer named after the operation.
"""

import math
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import core

from recog import models
from recog.devices import cost

DEPTH = 2  # parts of a layer's path, such as backbone/block_0_1
# Jitted functions that are layers without being modules; a model may name others.
OPERATIONS = ('conv', 'depthwise', 'max_pool', 'lstm', 'batch_norm')


class Layer(NamedTuple):
    """A row of the table."""

    name: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    parameters: int
    trainable: int
    statistics: int
    products: int  # multiply-adds


class Found:
    """What the equations of the jaxpr say of one layer."""

    def __init__(self) -> None:
        self.input: tuple[int, ...] = ()
        self.output: tuple[int, ...] = ()
        self.products = 0
        self.made: set[Any] = set()


def layers(model: models.Model, batch: models.Batch, depth: int = DEPTH) -> tuple[list[Layer], int]:
    """The rows for one forward pass over this batch (shapes will do), and the bytes of all values that it
    computes."""
    variables = jax.eval_shape(model.init, jax.random.key(0))
    closed = jax.make_jaxpr(lambda variables, batch: model.apply(variables, batch)[0])(variables, batch)
    leaves = {kind: models.flatten(tree) for kind, tree in variables.items()}
    named, _ = jax.tree_util.tree_flatten_with_path(variables)
    weights = {var: tuple(key.key for key in path[1:-1])
               for var, (path, _) in zip(closed.jaxpr.invars, named, strict=False)}
    paths = {path[:length] for tree in leaves.values() for path in tree for length in range(1, len(path))}
    walk = _Walk(paths, depth, {*OPERATIONS, *model.about.operations})
    walk.through(closed.jaxpr, (), weights, 1)
    homes = {path: _home(path, walk.found, depth) for tree in leaves.values() for path in tree}
    for label in homes.values():
        walk.found.setdefault(label, Found())
    frozen, rows = set(model.about.no_gradient), []
    for label, seen in walk.found.items():
        name = label.partition('#')[0]
        own = {kind: [(path, leaf.size) for path, leaf in tree.items() if homes[path] == label]
               for kind, tree in leaves.items()}
        parameters = sum(size for _, size in own['params'])
        trainable = sum(size for path, size in own['params'] if '/'.join(path) not in frozen)
        statistics = sum(size for _, size in own['stats'])
        if parameters or statistics or seen.products or '#' in label:
            rows.append(Layer(name, seen.input, seen.output, parameters, trainable, statistics,
                              seen.products))
    return rows, walk.bytes


def _home(path: tuple[str, ...], found: Container[str], depth: int) -> str:
    """The row of a parameter: that of the module it belongs to, or of what holds that, or one of its own."""
    names = ['/'.join(path[:length]) for length in range(min(depth, len(path) - 1), 0, -1)]
    return next((name for name in names if name in found), '/'.join((path[:-1] or path)[:depth]))


class _Walk:
    """Assigns the equations of a jaxpr to layers, inside loops and branches too."""

    def __init__(self, paths: set[tuple[str, ...]], depth: int, operations: set[str]):
        self.paths, self.depth, self.operations = paths, depth, operations
        self.found: dict[str, Found] = {}
        self.bytes = self._number = 0

    def through(self, jaxpr: Any, outer: tuple[str, ...], weights: dict[Any, tuple[str, ...]],
                times: int) -> None:
        """Count every equation `times` times; `weights` maps a
        variable to the module whose parameter it is."""
        weights = dict(weights)
        for equation in jaxpr.eqns:
            used = [weights[var] for var in equation.invars if not isinstance(var, core.Literal)
                    and var in weights]
            path = (*outer, *_scope(equation, self.paths, outer)) or (used[0] if used else ())
            if used and len(used) == sum(not isinstance(var, core.Literal) for var in equation.invars):
                # Still weights: reshaped, stacked or added.
                weights.update(dict.fromkeys(equation.outvars, used[0]))
                continue
            named = equation.params['name'] if equation.primitive.name == 'jit' else ''
            inside = [] if named in self.operations else cost.inside(equation.params)
            if equation.primitive.name == 'cond':
                inside = [branch.jaxpr for branch in equation.params['branches']][:1]
            if inside and (self._has_scopes(inside, path) or len(set(used)) > 1):
                steps = times * (equation.params['length'] if equation.primitive.name == 'scan' else 1)
                for sub in inside:
                    # The body's arguments come last. Before them there may be an
                    # index, or the constants of another body.
                    given = equation.invars[len(equation.invars) - len(sub.invars):]
                    known = {mine: weights[var] for mine, var in zip(sub.invars, given, strict=False)
                             if not isinstance(var, core.Literal) and var in weights}
                    self.through(sub, path if self._has_scopes(inside, path) else outer, known, steps)
                continue
            self._count(equation, path, named, weights, times)

    def _has_scopes(self, inside: list[Any], path: tuple[str, ...]) -> bool:
        return any(_scope(each, self.paths, path) for sub in inside for each in sub.eqns)

    def _count(self, equation: Any, path: tuple[str, ...], named: str, weights: dict[Any, tuple[str, ...]],
               times: int) -> None:
        self.bytes += times * sum(_bytes(var) for var in equation.outvars)
        label = '/'.join(path[:self.depth])
        if named in self.operations and not any(var in weights
                                                for var in equation.invars
                                                if not isinstance(var, core.Literal)):
            self._number += 1
            label = f'{"/".join((*path[:self.depth - 1], named))}#{self._number}'  # each a row of its own
        if not label:
            return
        row = self.found.setdefault(label, Found())
        entering = [var for var in equation.invars if not isinstance(var, core.Literal)
                    and var not in row.made and var not in weights and getattr(var.aval, 'ndim', 0) > 1]
        if not row.input and entering:
            row.input = max((var.aval.shape for var in entering), key=math.prod)
        row.made.update(equation.outvars)
        row.output = max((var.aval.shape for var in equation.outvars), key=math.prod) or row.output
        row.products += times * cost.products(equation)


def _scope(equation: Any, paths: set[tuple[str, ...]], outer: tuple[str, ...]) -> tuple[str, ...]:
    """The module that an equation belongs to, below `outer`: the part of its name stack that is a path of
    parameters."""
    parts = tuple(part for part in str(equation.source_info.name_stack).split('/') if part)
    for start in range(len(parts)):
        for end in range(len(parts), start, -1):
            if (*outer, *parts[start:end]) in paths:
                return parts[start:end]
    return ()


def _bytes(var: Any) -> int:
    return math.prod(var.aval.shape) * var.aval.dtype.itemsize if hasattr(var.aval, 'dtype') else 0


def lines(model: models.Model, batch: models.Batch) -> Iterator[str]:
    """The table and its totals as text."""
    rows, computed = layers(model, batch)
    count = batch['image'].shape[0]
    cells: list[tuple[str, ...]] = [('layer', 'input', 'output', 'parameters', 'trainable', 'statistics',
                                     'multiply-adds')]
    for row in rows:
        shapes = (' x '.join(map(str, shape)) for shape in (row.input, row.output))
        cells.append((row.name, *shapes, *(f'{number:,}' for number in row[3:])))
    sums = [sum(numbers) for numbers in zip(*(row[3:] for row in rows), strict=True)]
    cells.append((f'total, {count} image{"s" if count > 1 else ""}', '', '',
                  *(f'{number:,}' for number in sums)))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for cell in cells:
        yield '  '.join(text.ljust(width) if place < 3 else text.rjust(width) for place, (text, width) in
                        enumerate(zip(cell, widths, strict=True))).rstrip()
    yield ''
    image = batch['image'].nbytes
    yield (f'memory: images {image / 1e6:,.2f} MB, '
           f'parameters and statistics {4 * (sums[0] + sums[2]) / 1e6:,.2f} MB '
           f'(parameters {4 * sums[0] / 1e6:,.2f}), '
           f'values of one forward pass {computed / 1e6:,.2f} MB before any are fused or freed')
