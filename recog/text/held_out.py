"""Which formulas of CROHME's training set are held out for validation: told by a formula alone."""

import hashlib

# Those whose share is in this part of 0 to 1. latex_ocr/disjoint validates on them too, so that its training
# has none of them, and no composed formula is one of them.
VALIDATION = (0.15, 0.20)


def share(text: str) -> float:
    """A number from 0 to below 1 that depends on the text alone: the split of a formula goes by it."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), 'big') / 2**64


def held_out(text: str) -> bool:
    """Whether a formula, its tokens in the normal form with blanks between, is for validation."""
    first, end = VALIDATION
    return first <= share(text) < end
