"""Arithmetic counted from the jaxpr."""

import jax
import jax.numpy as jnp

from recog.devices import cost

LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def test_products_count_two_operations_a_multiply_add():
    assert cost.flops(lambda a, b: a @ b, jnp.ones((3, 5)), jnp.ones((5, 7))) == 2 * 3 * 5 * 7


def test_a_convolution_counts_its_kernel_once_a_pixel():
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), 'SAME', dimension_numbers=LAYOUT)

    found = cost.flops(convolve, jnp.ones((2, 8, 6, 3)), jnp.ones((3, 3, 3, 4)))
    assert found == 2 * (2 * 8 * 6 * 4) * (3 * 3 * 3)


def test_a_grouped_convolution_counts_only_its_own_channels():
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), 'SAME', dimension_numbers=LAYOUT,
                                            feature_group_count=4)

    assert cost.flops(convolve, jnp.ones((1, 8, 6, 4)), jnp.ones((3, 3, 1, 4))) == 2 * (8 * 6 * 4) * 9


def test_the_body_of_a_scan_counts_once_a_step():
    weights = jnp.ones((4, 4))

    def recur(x):
        return jax.lax.scan(lambda carry, _: (carry @ weights, None), x, length=10)[0]
    assert cost.flops(recur, jnp.ones((2, 4))) == 10 * 2 * 2 * 4 * 4


def test_inner_functions_and_elementwise_operations_count():
    def function(x):
        return jax.jit(lambda y: y * 2 + 1)(x).sum()
    assert cost.flops(function, jnp.ones((5, 4))) == 20 + 20 + 20


def test_a_gradient_of_a_product_costs_two_more():
    def loss(a, b):
        return (a @ b).sum()
    forward = 2 * 8 * 16 * 4
    counted = cost.flops(jax.grad(loss, argnums=(0, 1)), jnp.ones((8, 16)), jnp.ones((16, 4)))
    assert 2 * forward <= counted <= 3 * forward + 200
