"""Bytes changed at random, for campaigns of damaged files."""

import random


def mutated(content: bytes, dice: random.Random) -> bytes:
    """The content with some bytes flipped, overwritten, cut off, left out, doubled or set to one value."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
        if not changed:
            break
        place, length = dice.randrange(len(changed)), dice.choice((1, 1, 2, 4, 8, 64))
        match dice.randrange(6):
            case 0:
                changed[place] ^= 1 << dice.randrange(8)
            case 1:
                changed[place:place + length] = dice.randbytes(length)
            case 2:
                del changed[place:]
            case 3:
                del changed[place:place + length]
            case 4:
                changed[place:place] = changed[place:place + length]
            case 5:
                changed[place:place + length] = dice.choice((b'\0', b'\xff', b'\x7f')) * length
    return bytes(changed)
