"""Weights files: every gadget, and sound files and gadgets with changed bytes."""

import pickle

import numpy as np
from hostile_weights import GADGETS, tarred, zipped_bytes
from mutations import mutated
from pytorch_files import Tensor, row
from victim import Victim

TRIES = 4000
LARGEST = 20_000  # bytes of what is changed at random


def run(folder, dice, tries):
    """Each gadget once, then files with changed bytes."""
    arrays = {'a': np.arange(12, dtype=np.float32).reshape(3, 4), 'b': np.zeros(5, np.int64),
              'c': np.arange(6, dtype='>f8').reshape(2, 3).T}
    tensors = {name: Tensor(array.reshape(-1), array.shape) for name, array in list(arrays.items())[:2]}
    pickles = [pickle.dumps(arrays, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    sound = [*pickles, zipped_bytes(tensors), row(tensors), tarred(pickles[2])]
    small = [content for content in GADGETS.values() if len(content) < LARGEST]
    file = folder / 'weights.pth'
    with Victim('hostile_weights:read') as victim:
        for name, content in GADGETS.items():
            file.write_bytes(content)
            yield victim.attempt(name, str(file))
        for number in range(max(tries - len(GADGETS), 0)):
            content = mutated(dice.choice(dice.choice((sound, small))), dice)
            file.write_bytes(content)
            outcome = victim.attempt(f'change {number}', str(file))
            yield outcome if outcome.good else outcome._replace(said=f'{outcome.said} {content[:2000]!r}')
