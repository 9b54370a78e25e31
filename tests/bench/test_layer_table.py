"""The table of a model's layers: shapes, parameters and multiply-adds as computed by hand."""

import jax
import numpy as np
import pytest
from small import ROOT

from recog import models
from recog.bench import layer_table, programs
from recog.commands import command_line
from recog.config import experiments
from recog.text import vocabulary


def table(recipe, count=1):
    config = experiments.load(str(ROOT / 'experiments' / recipe))
    model = models.build(config, vocabulary.from_config(config.text))
    return model, {row.name: row
                   for row in layer_table.layers(model, programs.random_batch(config, count))[0]}


def test_the_rows_of_crnn_are_those_one_works_out_by_hand():
    model, rows = table('crnn.py:r34')
    stem, block, lstm, head = (rows[name] for name in ('backbone/stem_1', 'backbone/block_1_0', 'lstm_1',
                                                       'head'))
    assert stem.input == (1, 32, 100, 3) and stem.output == (1, 32, 100, 32)
    assert stem.parameters == 27 * 32 + 64 and stem.statistics == 64 and stem.products == 3200 * 27 * 32
    assert block.output == (1, 8, 50, 128)
    assert block.products == 400 * (9 * 64 * 128 + 9 * 128 * 128 + 64 * 128)
    assert lstm.products == 25 * 2 * (512 + 256) * 1024 and lstm.parameters == 2 * (512 + 256 + 2) * 1024
    assert head == layer_table.Layer('head', (1, 25, 512), (1, 25, 37), 512 * 37 + 37, 512 * 37 + 37, 0,
                                     25 * 512 * 37)
    assert sum(row.parameters for row in rows.values()) == 24_481_029


@pytest.mark.parametrize('recipe', [f'{name}.py' for name in models.names()])
def test_the_parameters_of_all_rows_are_all_parameters(recipe):
    model, rows = table(recipe)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    count = {kind: sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
             for kind, tree in shapes.items()}
    assert sum(row.parameters for row in rows.values()) == count['params']
    assert sum(row.statistics for row in rows.values()) == count['stats']


def test_multiply_adds_grow_with_the_batch_and_parameters_do_not():
    (_, one), (_, three) = table('crnn.py:demo'), table('crnn.py:demo', 3)
    for name, row in one.items():
        assert three[name].products == 3 * row.products and three[name].parameters == row.parameters


def test_the_command_prints_the_table_and_its_totals(capsys):
    assert command_line.main(['config', str(ROOT / 'experiments' / 'crnn.py') + ':demo', '--layers',
                              '--batch', '2']) == 0
    said = capsys.readouterr().out
    assert said.startswith('layer ') and 'backbone/max_pool' in said
    assert 'total, 2 images' in said and 'memory: images 0.02 MB' in said
