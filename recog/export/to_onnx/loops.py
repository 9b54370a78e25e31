"""Loops and conditionals: scan becomes Scan, while becomes Loop,
cond becomes If unless the branch is known."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from jax.extend import core
from onnx import GraphProto, TensorProto, helper

from recog.export.to_onnx.graph import Graph, Unconvertible, Value, info, made_within, needs, rename

Convert = Callable[[Graph, Any, Sequence[Value]], list[Value]]


def scan(graph: Graph, equation: Any, inputs: list[Value], convert: Convert) -> Sequence[Value]:
    """ONNX's Scan over the first axis, in either direction."""
    params, jaxpr = equation.params, equation.params['jaxpr']
    constants, carried = params['num_consts'], params['num_consts'] + params['num_carry']
    body = Graph(graph, lifts=True)
    names = [body.fresh() for _ in inputs[constants:]]
    results = convert(body, jaxpr, [*inputs[:constants], *names])
    pairs = zip(names, jaxpr.jaxpr.invars[constants:], strict=True)
    described = [info(name, var.aval) for name, var in pairs]
    scanned = list(inputs[carried:])
    if not scanned:  # Scan needs an input for its number of iterations
        scanned = [np.zeros((params['length'], 1), np.float32)]
        described.append(helper.make_tensor_value_info(body.fresh(), TensorProto.FLOAT, [1]))
    made = len(results) - params['num_carry']
    part = body.body(described, list(zip(results, (var.aval for var in jaxpr.jaxpr.outvars), strict=True)))
    backwards = int(params['reverse'])
    directions = {'scan_input_directions': [backwards] * len(scanned)}
    if made:
        directions['scan_output_directions'] = [backwards] * made
    outer = _carried_along(graph, part)
    return graph.add('Scan', *outer, *inputs[constants:carried], *scanned, outputs=len(outer) + len(results),
                     body=part, num_scan_inputs=len(scanned), **directions)[len(outer):]


def _carried_along(graph: Graph, body: GraphProto) -> list[str]:
    """Let a body of Scan carry what it reads of outer graphs besides constants, unchanged; returns the names.

    OpenVINO takes it for carried values anyway, and misses their results.
    """
    known = {'', *graph.root.arrays, *(value.name for value in body.input)}
    known.update(name for node in body.node for name in (*node.output, *made_within(node)))
    read = dict.fromkeys(name for node in body.node for name in sorted(needs(node)))
    outer = [name for name in read if name not in known]
    names = {name: graph.root.fresh() for name in outer}
    rename(body.node, names)
    after = [graph.root.fresh() for _ in outer]
    body.node.extend(helper.make_node('Identity', [names[name]], [new])
                     for name, new in zip(outer, after, strict=True))
    inputs, outputs = list(body.input), list(body.output)
    del body.input[:], body.output[:]
    body.input.extend([*map(helper.make_empty_tensor_value_info, names.values()), *inputs])
    body.output.extend([*map(helper.make_empty_tensor_value_info, after), *outputs])
    return outer


def loop(graph: Graph, equation: Any, inputs: list[Value], convert: Convert) -> Sequence[Value]:
    """ONNX's Loop, whose body also computes whether there is another iteration."""
    params = equation.params
    first, second = params['cond_nconsts'], params['cond_nconsts'] + params['body_nconsts']
    asked, used, start, growing = inputs[:first], inputs[first:second], inputs[second:], graph.unused
    going = convert(graph, params['cond_jaxpr'], [*asked, *start])[0]
    jaxpr, counters = params['body_jaxpr'], _counters(params, start)
    limits = counters
    for last in (False, True):  # the first pass learns the bounds of integers and what grows
        body = Graph(graph, lifts=True)
        count, before = body.fresh(), body.fresh()
        names = [body.fresh() for _ in start]
        graph.root.limits |= {names[place]: each for place, each in limits.items()}
        body.counters = {names[place] for place, (first, _) in counters.items() if not first}
        body.growing = dict.fromkeys(names[place] for place in growing)
        results = convert(body, jaxpr, [*used, *names])
        if not last:
            limits = _between(graph, start, body, results) | counters
            growing = [place for place in growing if _longer(body, names[place], results[place])]
    avals = [var.aval for var in jaxpr.jaxpr.invars[len(used):]]
    for place in growing:
        axis = body.growing[names[place]]
        if axis is not None:
            shape = avals[place].shape
            longer = (*shape[:axis], 'any', *shape[axis + 1:])
            avals[place] = SimpleNamespace(shape=longer, dtype=avals[place].dtype)
            start[place] = graph.op('ConstantOfShape', graph.shape([*shape[:axis], 0, *shape[axis + 1:]]))
    again = convert(body, params['cond_jaxpr'], [*asked, *results])[0]
    described = [helper.make_tensor_value_info(count, TensorProto.INT64, []),
                 helper.make_tensor_value_info(before, TensorProto.BOOL, [])]
    described += [info(name, aval) for name, aval in zip(names, avals, strict=True)]
    outputs = [(again, params['cond_jaxpr'].jaxpr.outvars[0].aval), *zip(results, avals, strict=True)]
    return graph.add('Loop', '', going, *start, outputs=len(start), body=body.body(described, outputs))


def _between(
    graph: Graph, start: Sequence[Value], body: Graph, results: Sequence[Value]
) -> dict[int, tuple[int, int]]:
    """The least and largest value of carried integers, if those before and after an iteration are known."""
    found = {}
    for place, (first, after) in enumerate(zip(start, results, strict=True)):
        one, other = graph.bounds(first), body.bounds(after)
        if one and other:
            found[place] = min(one[0], other[0]), max(one[1], other[1])
    return found


def _longer(body: Graph, name: str, result: Value) -> bool:
    """Whether a carried tensor is one that grows in each iteration,
    perhaps with its rows in another order."""
    maker = body.maker(result)
    if maker is not None and maker.op_type == 'Gather' and not maker.attribute[0].i:
        maker = body.maker(maker.input[0])
    grown = maker is not None and maker.op_type == 'Concat' and maker.input[0] == name
    return grown and body.growing[name] is not None


def _counters(params: Any, start: Sequence[Value]) -> dict[int, tuple[int, int]]:
    """Which carried values count the iterations, and from where to where."""
    body, asked = params['body_jaxpr'].jaxpr, params['cond_jaxpr'].jaxpr
    made = {var: each for jaxpr in (body, asked) for each in jaxpr.eqns for var in each.outvars}
    conditions, below = [var for var in asked.outvars if isinstance(var, core.Var)], {}
    while conditions:  # all of them must hold
        each = made.get(conditions.pop())
        if each is not None and each.primitive.name == 'and':
            conditions += [var for var in each.invars if isinstance(var, core.Var)]
        elif each is not None and each.primitive.name == 'lt' and isinstance(each.invars[1], core.Literal):
            below[each.invars[0]] = int(each.invars[1].val)
    found: dict[int, int] = {}
    rounds = [2**31]
    for place, first in enumerate(start):
        number, watched = (jaxpr.invars[count + place] for jaxpr, count in (
            (body, params['body_nconsts']), (asked, params['cond_nconsts'])))
        after = body.outvars[place]
        step = made.get(after) if isinstance(after, core.Var) else None
        counts = step is not None and step.primitive.name == 'add' and step.invars[0] is number and \
            isinstance(step.invars[1], core.Literal) and step.invars[1].val == 1
        if counts and isinstance(first, np.ndarray) and first >= 0:
            found[place] = int(first)
            rounds += [below[watched] - int(first)] if watched in below else []
    if len(rounds) == 1:
        return {}
    return {place: (first, first + min(rounds) - 1) for place, first in found.items()}


def choice(graph: Graph, equation: Any, inputs: list[Value], convert: Convert) -> Sequence[Value]:
    """The branch itself if it is known which one is taken,
    as in `platform_dependent`; otherwise ONNX's If."""
    branches, (index, *given) = equation.params['branches'], inputs
    if isinstance(index, np.ndarray):
        return convert(graph, branches[int(np.clip(index, 0, len(branches) - 1))], given)
    if len(branches) != 2:
        raise Unconvertible(
            f'a choice among {len(branches)} branches has no counterpart in ONNX: only one among 2 has')
    parts = []
    for jaxpr in branches:
        body = Graph(graph)
        results = convert(body, jaxpr, given)
        avals = (var.aval for var in jaxpr.jaxpr.outvars)
        parts.append(body.body([], list(zip(results, avals, strict=True))))
    flag = graph.cast(index, bool)
    return graph.add('If', flag, outputs=len(equation.outvars), else_branch=parts[0], then_branch=parts[1])


def platform(graph: Graph, equation: Any, inputs: list[Value], convert: Convert) -> Sequence[Value]:
    """The index of the CPU's branch, or else of the default branch."""
    kinds = list(equation.params['platforms'])
    for number, names in enumerate(kinds):
        if names is None or 'cpu' in names:
            return [np.asarray(number, np.int32)]
    raise Unconvertible(f'a choice by platform among {kinds} has no branch for CPUs')


OPERATIONS = {'scan': scan, 'while': loop, 'cond': choice, 'platform_index': platform}
