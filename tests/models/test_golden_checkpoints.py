"""What may be and what is wrong with a checkpoint of the reference, on one that a golden describes."""

import golden
import jax
import numpy as np
import pytest

from recog.models.peers import from_peer

NAME = 'rec_mv3_none_bilstm_ctc'


@pytest.fixture(scope='module')
def model():
    return golden.build(NAME)


@pytest.fixture
def state():
    return golden.golden(NAME)[2]


def test_a_checkpoint_may_hold_either_name_of_an_lstm_tensor(model, state):
    first = {key: value for key, value in state.items() if '.cell_' not in key}
    second = {key: value for key, value in state.items() if '.cell_' in key or 'lstm' not in key}
    assert len(first) == len(second) < len(state)
    same = jax.tree.map(np.array_equal, from_peer(model, first), from_peer(model, second))
    assert all(jax.tree.leaves(same))


def test_missing_surplus_misshapen_and_contradictory_keys_are_named_in_one_error(model, state):
    del state['head.fc.bias']
    state['head.other'] = np.zeros(3)
    state['head.fc.weight'] = np.zeros((37, 192))
    state['neck.encoder.lstm.0.cell_fw.bias_ih'] = np.zeros(384)
    with pytest.raises(ValueError) as error:
        from_peer(model, state)
    message = str(error.value)
    assert 'missing head.fc.bias;' in message and 'surplus head.other;' in message
    assert 'misshapen head.fc.weight (37, 192);' in message
    assert message.endswith('contradictory neck.encoder.lstm.0.cell_fw.bias_ih') and '\n' not in message
