"""LaTeX-OCR's table of layers as it was published."""

from small import ROOT

from recog import models
from recog.bench import layer_table, programs
from recog.config import experiments
from recog.text import vocabulary


def test_the_table_of_layers_is_the_published_one_and_its_totals_are_true():
    config = experiments.load(str(ROOT / 'experiments' / 'latex_ocr.py'))
    model = models.build(config, vocabulary.from_config(config.text))
    rows, _ = layer_table.layers(model, programs.random_batch(config, 32))
    assert [(row.output, row.parameters) for row in rows] == [
        ((32, 64, 256, 64), 9_408), ((32, 64, 256, 64), 128),  # convolution, batch norm
        ((32, 32, 128, 64), 0), ((32, 32, 128, 64), 221_952), ((32, 16, 64, 128), 1_116_416),  # max pool, two stages
        ((32, 16, 64, 384), 49_536), ((32, 16, 64, 384), 0), ((512, 64, 384), 887_808),  # 1 x 1, positions, LSTM
        ((223, 384), 172_032), ((32, 223, 384), 52_224),  # the decoder's positions, embedding
        ((32, 223, 384), 18_932_736), ((32, 223, 136), 52_360),  # eight layers, linear
    ]
    assert rows[0].input == (32, 128, 512, 3) and rows[7].input == (512, 64, 384)
    assert sum(row.parameters for row in rows) == 21_494_600  # 85.98 MB
    # What the decoder's attention and feed-forward multiply, which the published 101.45 G leave out, makes up the rest.
    products = sum(row.products for row in rows)
    assert round(products / 1e9, 2) == 351.24
    assert round((products - rows[-2].products) / 1e9, 2) == 101.41
