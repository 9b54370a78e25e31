"""Loops and choices give in onnxruntime what they give in JAX."""

import jax.numpy as jnp
import pytest
from jax import lax
from onnx_files import ROW, compared, inside, same


@pytest.mark.parametrize('reverse', [False, True])
def test_a_scan_becomes_one_node(reverse):
    def step(carry, now):
        return carry * 0.5 + now, (carry - now, now[:, None])

    assert 'Scan' in same(lambda x: lax.scan(step, jnp.zeros(x.shape[0]), x.T, reverse=reverse), ROW)


@pytest.mark.parametrize('function', [
    lambda x: lax.scan(lambda carry, _: (carry * 1.5, carry), x, None, length=4),
    lambda x: lax.scan(lambda carry, now: (carry + now, None), jnp.zeros(x.shape[0]), x.T)[0],
])
def test_a_scan_may_have_no_inputs_or_no_outputs(function):
    assert 'Scan' in same(function, ROW)


def test_the_body_of_a_scan_reads_constants_alone_from_outside():
    def forward(x):
        outside = jnp.cumsum(x, 1).max(1)
        return lax.scan(lambda carry, now: (carry * outside + now, carry), jnp.zeros(x.shape[0]), x.T)

    graph = compared(forward, ROW).graph
    scan = next(node for node in graph.node if node.op_type == 'Scan')
    body = next(attribute.g for attribute in scan.attribute if attribute.HasField('g'))
    known = {value.name for value in (*body.input, *graph.initializer)}
    for node in body.node:
        assert set(node.input) <= known
        known |= {*node.output}
    assert len(body.input) == len(scan.input) == 3 and len(body.output) == len(scan.output) == 3


def test_a_while_becomes_a_loop_that_stops_early():
    def going(carry):
        return (carry[0] < 20) & (carry[1].sum() < 50)

    def forward(carry):
        return carry[0] + 1, carry[1] * 1.5 + 1

    assert 'Loop' in same(lambda x: lax.while_loop(going, forward, (jnp.int32(0), x)), ROW)


def test_a_choice_becomes_an_if():
    def chosen(x):
        return lax.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 2, x)

    assert 'If' in same(chosen, ROW, batches=(1, 2, 3, 4))


def test_a_choice_by_platform_becomes_the_branch_of_the_cpu():
    branches = {'cpu': lambda x: x + 1, 'cuda': lambda x: x, 'default': lambda x: x * 2}
    assert same(lambda x: lax.platform_dependent(x, **branches), ROW) == ['Add', 'Identity']


def test_what_no_round_changes_is_computed_before_the_loop():
    def rounds(x):
        def step(_, y):
            return y + jnp.tanh(x @ x.T).sum(1) * jnp.arange(x.shape[0])

        return lax.fori_loop(0, 4, step, x[:, 0])

    names = inside(rounds, ('b, 5', 'float32'))
    assert 'Tanh' not in names and 'MatMul' not in names and 'Range' not in names


def test_what_is_computed_before_a_choice_is_not_what_only_one_branch_needs():
    names = same(lambda x: lax.cond(x.sum() > 0, lambda: jnp.exp(x), lambda: -x), ROW, batches=(1, 2, 3))
    assert names.index('If') < names.index('Exp')
