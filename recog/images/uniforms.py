"""Numpy's random numbers for many rows at once: what each row's own generator would draw first."""

import numpy as np

# The generator is Philox 4 x 64 (Salmon et al. 2011).
ROUNDS, FACTORS = 10, (0xD2E7470EE14C6C93, 0xCA5A826395121157)
STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def uniforms(seed: int, epoch: int, rows: np.ndarray, count: int) -> np.ndarray:
    """The first `count` numbers of `augment.generator(seed, epoch, row).random()`.  -> float64 [N, count]"""
    blocks = -(-count // 4)
    shape = len(rows), blocks
    words = [np.broadcast_to(np.arange(1, blocks + 1, dtype=np.uint64), shape), np.zeros(shape, np.uint64),
             np.zeros(shape, np.uint64), np.broadcast_to(rows.astype(np.uint64)[:, None], shape)]
    keys = [seed, epoch]
    for _ in range(ROUNDS):
        (high, low), (other, lower) = _product(words[0], FACTORS[0]), _product(words[2], FACTORS[1])
        words = [other ^ words[1] ^ np.uint64(keys[0]), lower, high ^ words[3] ^ np.uint64(keys[1]), low]
        keys = [(key + step) % 2 ** 64 for key, step in zip(keys, STEPS, strict=True)]
    return (np.stack(words, -1).reshape(len(rows), -1)[:, :count] >> np.uint64(11)) * 2.0 ** -53


def _product(numbers: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """The upper and lower 64 bits of the products."""
    high, low = numbers >> HALF, numbers & LOW
    other, lower = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    middle = high * lower + (low * lower >> HALF)
    crossed = low * other + (middle & LOW)
    return high * other + (middle >> HALF) + (crossed >> HALF), numbers * np.uint64(factor)
