"""Size and baseline of every line of handwriting, found from the symbols that stand in it.

A symbol is larger than a digit or smaller, and above the baseline or below, by what all writers together do
with its token.
"""

from typing import NamedTuple

import numpy as np

ROUNDS = 12
FEW = 3.0  # symbols of a token count as much as what is known beforehand, and lines as what is around them
STRETCHED = 0.1  # how much symbols count that are as large as what they belong to


class Symbols(NamedTuple):
    """The symbols of many lines: the line of each, its token, its larger side, its middle, its weight [N]."""

    line: np.ndarray
    token: np.ndarray
    extent: np.ndarray
    middle: np.ndarray
    weight: np.ndarray


def find(symbols: Symbols, formula: np.ndarray, ratio: np.ndarray,
         digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The size and the baseline of each line [L]: a digit reaches from the baseline to the size above it.

    `formula` says which formula each line is of, `ratio` about how large it is beside that formula, `digits`
    which tokens are digits.
    """
    line, token, extent, middle, weight = symbols
    lines, tokens = len(formula), len(digits)
    count = np.bincount(line, weight, lines)
    of_token = np.bincount(token, weight, tokens)
    large, above = np.ones(tokens), np.full(tokens, 0.5)
    digit = weight * digits[token]
    digit = digit if digit.any() else weight
    for _ in range(ROUNDS):
        # As many symbols as in the line, one more as large as the formula says.
        whole = _ratio(np.bincount(formula[line], weight * extent, formula.max() + 1),
                       np.bincount(formula[line], weight * large[token] * ratio[line], formula.max() + 1))
        around = ratio * whole[formula]
        size = (np.bincount(line, weight * extent, lines) + around) / (
            np.bincount(line, weight * large[token], lines) + 1)
        size = np.where(size > 0, size, 1.0)  # dots alone
        base = _ratio(np.bincount(line, weight * (middle + above[token] * size[line]), lines), count)
        scaled, lifted = extent / size[line], (base[line] - middle) / size[line]
        large = (np.bincount(token, weight * scaled, tokens) + FEW) / (of_token + FEW)
        above = (np.bincount(token, weight * lifted, tokens) + FEW * 0.5) / (of_token + FEW)
        large /= np.average(large[token], weights=digit)
        above += 0.5 - np.average(above[token], weights=digit)
    return size, base


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient; 1 where there is nothing."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), 1.0)
