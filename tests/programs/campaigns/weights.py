"""Weights files: sound ones of every format, with changed bytes."""

import pickle

import numpy as np
from mutations import mutated
from pytorch_files import Tensor, in_a_row, zipped
from victim import Victim

TRIES = 2000


def read(path):
    """How many arrays a file holds."""
    from recog.weights.files import read_weights

    return len(read_weights(path))


def run(folder, dice, tries):
    """Outcomes of so many tries."""
    arrays = {'a': np.arange(12, dtype=np.float32).reshape(3, 4), 'b': np.zeros(5, np.int64)}
    tensors = {name: Tensor(array.reshape(-1), array.shape) for name, array in arrays.items()}
    sound = [zipped(folder / 'zip.pth', tensors).read_bytes(),
             in_a_row(folder / 'row.pth', tensors).read_bytes(),
             *(pickle.dumps(arrays, protocol) for protocol in range(6))]
    file = folder / 'file.pth'
    with Victim('campaigns.weights:read') as victim:
        for number in range(tries):
            file.write_bytes(mutated(dice.choice(sound), dice))
            yield victim.attempt(f'mutation {number}', str(file))
