"""LaTeX-OCR's parts: decoding with a cache, label smoothing, running variances, pretrained weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden import fill
from narrow_models import NARROW, VOCAB, close, make_batch, narrow, random_variables
from pytorch_files import Tensor, zipped
from small import QUICKLY, ROOT

from recog import models
from recog.config import experiments
from recog.config.recipe import base
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.images.fit import fit_batch, fit_image
from recog.models import latex_ocr
from recog.models.backbones import resnet34
from recog.models.decoding.search import search
from recog.models.parts import layers, transformer_decoder
from recog.models.parts.transformer import Noise
from recog.text import vocabulary
from recog.train import optimizer
from recog.train.step import make_state, make_step

NAME = 'latex_ocr'
CAPACITY = NARROW[NAME][0]['capacity']


@functools.cache
def decoded(beam):
    """A narrow model's texts, and its outputs with these texts as input."""
    model, batch = narrow(NAME), make_batch(NAME, 3)
    variables = random_variables(model, seed=2)  # texts of several lengths
    decode = jax.jit(model.decode, static_argnames=('beam', 'details'), compiler_options=QUICKLY)
    result = decode(variables, batch['image'], batch['size'], CAPACITY, beam=beam, details=True)
    read = jax.jit(model.apply, compiler_options=QUICKLY)
    texts = [{name: result[name][:, place] for name in ('tokens', 'length')} for place in range(beam)]
    return result, [read(variables, batch | text)[0] for text in texts]


def chances(logits):
    """Log-probabilities, -inf for the classes that no text has."""
    special = np.array([True, True, False, *[False] * len(VOCAB)])
    return np.where(special, -np.inf, jax.nn.log_softmax(logits))


@pytest.mark.parametrize('beam', [1, 3])
def test_decoding_with_cached_keys_and_values_equals_reading_the_whole_text(beam):
    result, whole = decoded(beam)
    lengths = np.asarray(result['length'])
    assert lengths.max() > 5 and len(np.unique(lengths)) > 1
    ranks = np.asarray(result['score'] / (lengths + (lengths < CAPACITY)) ** 0.6)
    assert (np.diff(ranks) <= 1e-6).all()
    for place, outputs in enumerate(whole):
        frames = chances(outputs['head'])
        for row, length in enumerate(lengths[:, place]):
            tokens = np.asarray(result['tokens'])[row, place, :length]
            steps = frames[row, np.arange(length), tokens + latex_ocr.OFFSET]
            ended = length < CAPACITY
            total = steps.sum() + (frames[row, length, latex_ocr.END] if ended else 0)
            assert result['score'][row, place] == pytest.approx(total, rel=1e-4)
            confidence, attention = (
                result[name][row, place, :length] for name in ('token_confidence', 'attention'))
            np.testing.assert_allclose(confidence, np.exp(steps), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(attention, outputs['attention'][row, :length], atol=1e-5)
            if beam == 1:
                np.testing.assert_array_equal(frames[row, :length].argmax(-1), tokens + latex_ocr.OFFSET)


def test_attention_to_a_memory_without_its_keys_and_values_equals_attention_by_them():
    def random(seed, shape):
        return np.random.default_rng(seed).normal(size=shape).astype(np.float32)

    attention = transformer_decoder.Attention(12, 3, Noise(0.2))
    x, memory = (random(tokens, (2, tokens, 12)) for tokens in (4, 7))
    init = functools.partial(attention.init, method='attend_memory')
    shapes = jax.eval_shape(lambda: init(jax.random.key(0), x, memory, False))
    variables = jax.tree.map(lambda leaf: random(leaf.size, leaf.shape), shapes)
    rngs = {'dropout': jax.random.key(1)}

    def by_keys(module, x, memory, train):
        projected = module.project(memory, 1, 3, memory.shape[1])
        return module.attend((*module.project(x, 0, 1, x.shape[1]), *projected), None, train, x.shape)

    def results(method, train):
        def total(variables, x, memory):
            attended, weights = attention.apply(variables, x, memory, train, method=method, rngs=rngs)
            return jnp.sin(attended).sum() + (weights**2).sum(), (attended, weights)

        gradients, outputs = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(variables, x, memory)
        names = 'variables', 'tokens', 'memory', 'attended', 'weights'
        return dict(zip(names, (*gradients, *outputs), strict=True))

    for train in (False, True):
        close(results('attend_memory', train), results(by_keys, train), 1e-4)


def test_three_beams_are_three_texts():
    for texts in np.asarray(decoded(3)[0]['tokens']).tolist():
        assert len(set(map(tuple, texts))) == 3


def test_the_references_beams_are_copies_of_the_greedy_one():
    """Its three beams start alike with equal scores: the best three candidates
    are the three copies of the best one."""
    random = np.random.default_rng(0)
    table = jax.nn.log_softmax(jnp.asarray(random.normal(size=(12, 9))))

    def step(number, classes):
        return jnp.broadcast_to(table[number], (classes.shape[0], 9)), number + 1

    codes = latex_ocr.Codes(latex_ocr.START, latex_ocr.END, latex_ocr.OFFSET, 6)
    greedy = search(step, jnp.int32(0), codes, rows=1, capacity=12, max_length=12)
    beams = [[latex_ocr.START] for _ in range(3)]
    scores = np.zeros(3)
    for frame in np.asarray(table):
        candidates = (scores[:, None] + frame).ravel()
        best = np.argsort(-candidates, kind='stable')[:3]
        beams = [[*beams[place // 9], place % 9] for place in best]
        scores = candidates[best]
        if beams[0][-1] == latex_ocr.END:
            break
    assert beams[0] == beams[1] == beams[2]
    wanted = [each - latex_ocr.OFFSET for each in beams[0][1:] if each >= latex_ocr.OFFSET]
    assert np.asarray(greedy['tokens'])[0, 0, :len(wanted)].tolist() == wanted


def test_no_token_attends_to_later_tokens():
    model, batch = narrow(NAME), make_batch(NAME, 2)
    variables = random_variables(model)
    batch |= {'tokens': jnp.array([[0, 1, 2, 3, 4], [5, 4, 3, 2, 1]]), 'length': jnp.array([5, 5])}
    changed = batch | {'tokens': batch['tokens'].at[:, 3].set(0)}
    read = jax.jit(model.apply, compiler_options=QUICKLY)
    one, other = (np.asarray(read(variables, each)[0]['head']) for each in (batch, changed))
    np.testing.assert_array_equal(one[:, :4], other[:, :4])
    assert np.all(np.abs(one[:, 4:] - other[:, 4:]).max((1, 2)) > 1e-3)


def test_label_smoothing_spreads_a_share_over_all_classes():
    random = np.random.default_rng(0)
    logits = jnp.asarray(random.normal(size=(2, 4, 7)), jnp.float32)
    wanted = jnp.asarray(random.integers(0, 7, (2, 4)))
    want = optax.softmax_cross_entropy(logits, optax.smooth_labels(jax.nn.one_hot(wanted, 7), 0.1))
    np.testing.assert_allclose(latex_ocr.smoothed(logits, wanted, 0.1), want, rtol=1e-5)


def test_the_loss_counts_each_label_and_its_end_once_and_reads_nothing_behind():
    model, batch = narrow(NAME), make_batch(NAME, 4)
    variables, some = random_variables(model), jnp.array([1.0, 0.0, 1.0, 1.0])
    loss = jax.jit(model.loss, compiler_options=QUICKLY)
    (total, count), _ = loss(variables, batch | {'weight': some})
    assert count == ((batch['length'] + 1) * some).sum()
    roomy = {'tokens': jnp.pad(batch['tokens'], ((0, 0), (0, 3)), constant_values=-1)}
    (same, _), _ = loss(variables, batch | {'weight': some} | roomy)
    assert same == pytest.approx(float(total), rel=1e-5)


def test_a_grey_image_is_read_as_three_equal_channels():
    own, image = NARROW[NAME]
    config = base(name=NAME, **own)
    config.image.update(image | {'channels': 'bgr'})
    coloured, grey, batch = models.build(config, VOCAB), narrow(NAME), make_batch(NAME, 2)
    variables, heads = random_variables(grey), []
    for model, image in ((grey, batch['image']), (coloured, jnp.repeat(batch['image'], 3, -1))):
        apply = jax.jit(model.apply, compiler_options=QUICKLY)
        heads.append(apply(variables, batch | {'image': image})[0]['head'])
    np.testing.assert_allclose(*heads, atol=1e-5)


@pytest.mark.parametrize('group', [0, 2])
def test_the_running_variance_is_unbiased_where_asked_for(group):
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 2)).astype(np.float32)
    weight = np.array([1, 1, 1, 0], np.float32)
    zeros, ones = jnp.zeros(2), jnp.ones(2)
    run = functools.partial(layers.batch_norm, x, ones, zeros, zeros, ones, weight, train=True, group=group)
    (output, mean, variance), (same, other, biased) = run(unbiased=True), run()
    np.testing.assert_array_equal(output, same)
    np.testing.assert_array_equal(mean, other)
    parts = [x[:3]] if not group else [x[:2], x[:2], x[2:3]]  # a group counts by its real rows
    want = np.mean([part.reshape(-1, 2).var(0, ddof=1) for part in parts], 0)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * want, rtol=1e-5)
    assert np.all(np.abs(biased - variance) > 1e-4)


def torchvision(model):
    """A state dict of torchvision's for the backbone of a model, with some of the rest of such a file."""
    shapes = models.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    state = {'layer3.0.conv1.weight': np.zeros((2, 2)), 'fc.bias': np.zeros(9),
             'bn1.num_batches_tracked': np.zeros((), np.int64)}
    for path, leaf in shapes.items():
        if path[1] == 'backbone':
            shape = tuple(leaf.shape[axis] for axis in (3, 2, 0, 1)) if len(leaf.shape) == 4 else leaf.shape
            key = resnet34.peer_key(path[2:])
            state[key] = fill(key, shape)
    return state


def pretrained(tmp_path, change=dict):
    """A model whose backbone starts from a file of PyTorch, and the content of that file."""
    own, image = NARROW[NAME]
    file = tmp_path / 'resnet34-0.pth'
    config = base(name=NAME, **own | {'pretrained': str(file)})
    config.image.update(image)
    model = models.build(config, VOCAB)
    state = change(torchvision(model))
    zipped(file, {name: Tensor(array.ravel(), array.shape) for name, array in state.items()})
    return model, state


def test_training_starts_from_the_files_backbone_and_initial_values_elsewhere(tmp_path):
    model, state = pretrained(tmp_path)
    tx = optax.adam(1e-3)
    start = jax.jit(lambda key, given: make_state(model, tx, 0.9, key, given), compiler_options=QUICKLY)
    fresh, given = (start(jax.random.key(0), given) for given in ({}, model.pretrained()))
    kernel = given.params['backbone']['conv']['kernel']
    np.testing.assert_array_equal(kernel, state['conv1.weight'].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(given.stats['backbone']['stage_2']['block_0']['shortcut_norm']['variance'],
                                  state['layer2.0.downsample.1.running_var'])
    close(given.ema, {'params': given.params, 'stats': given.stats}, 0)
    names = ('head', 'rows', 'project')
    close({name: given.params[name] for name in names}, {name: fresh.params[name] for name in names}, 0)
    assert np.all(given.params['backbone']['norm']['scale'] != fresh.params['backbone']['norm']['scale'])


def test_the_keys_are_torchvisions():
    state = torchvision(models.build(recipe('r34'), range(133)))
    assert state['conv1.weight'].shape == (64, 3, 7, 7) and state['layer1.2.bn2.running_mean'].shape == (64,)
    assert state['layer2.0.downsample.0.weight'].shape == (128, 64, 1, 1)
    assert state['layer2.3.conv2.weight'].shape == (128, 128, 3, 3)
    assert len(state) == 3 + 80


def recipe(variant, *overrides):
    lines = [f'--config.{override}' for override in overrides]
    return experiments.load(f'{ROOT}/experiments/latex_ocr.py:{variant}', lines)


def test_a_file_that_is_not_there_or_lacks_something_is_refused_when_training_starts(tmp_path):
    # Only training needs the file.
    model = models.build(recipe('r34', 'model.pretrained=/nowhere/resnet34.pth'), range(133))
    words = "pretrained='/nowhere/resnet34.pth' is no file: fetch https.*scratch"
    with pytest.raises(ConfigError, match=words):
        model.pretrained()
    assert models.build(recipe('scratch'), range(133)).pretrained() == {}
    model, _ = pretrained(tmp_path, lambda state: {key: state[key] for key in state if key != 'bn1.bias'})
    with pytest.raises(ConfigError, match=r'has no bn1.bias, which a ResNet34 of torchvision has'):
        model.pretrained()
    model, _ = pretrained(tmp_path, lambda state: state | {'conv1.weight': np.zeros((64, 3, 7, 7))})
    with pytest.raises(ConfigError, match=r'conv1.weight of \(64, 3, 7, 7\) does not fit this backbone'):
        model.pretrained()


@pytest.mark.parametrize(('override', 'said'), [
    ('model.width=100', 'a multiple of 4 x model.heads=8'),
    ('model.capacity=449', '1 to config.model.positions=448'),
    ('text.max_length=224', 'at most config.model.capacity=223'),
    ('image.width=500', 'a multiple of 8 for latex_ocr'),
    ('model.widths=(1,2,3)', 'two numbers of at least 1'), ('model.smoothing=1.0', 'at least 0 and below 1')])
def test_what_the_model_cannot_be_is_refused_in_one_line(override, said):
    with pytest.raises(ConfigError, match=rf'config.{override.partition("=")[0]}=.* must be {said}'):
        models.build(recipe('r34', override), range(133))


def test_without_the_row_lstm_the_encoder_is_the_convolutions_with_their_places():
    model = models.build(recipe('no_row_lstm'), range(133))
    shapes = jax.eval_shape(model.init, jax.random.key(0))['params']
    assert 'rows' not in shapes and sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 21_494_600 - 887_808


@pytest.mark.parametrize(('shape', 'inside'), [
    ((20, 40), (20, 40)), ((300, 400), (128, 171)), ((100, 2048), (25, 512)),
])
@pytest.mark.parametrize('ink', ['dark', 'light'])
def test_a_thumbnail_keeps_its_ratio_is_never_enlarged_and_lies_in_the_middle_of_its_paper(
        shape, inside, ink):
    rule = recipe('r34', f'image.ink={ink}').image
    canvas, size = fit_image(np.full((*shape, 3), 99, np.uint8), rule)
    assert size == (128, 512) and canvas.shape == (128, 512, 1)
    paper = 0 if ink == 'light' else 255
    rows, columns = (np.flatnonzero((canvas[..., 0] != paper).any(axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == inside
    assert np.all(canvas[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] == 99)
    assert rows[0] == (128 - len(rows)) // 2 and columns[0] == (512 - len(columns)) // 2


def test_a_thumbnail_of_a_colour_is_grey_in_all_channels():
    rule = recipe('r34', 'image.channels=bgr').image
    canvas, _ = fit_image(np.full((128, 512, 3), (0, 0, 255), np.uint8), rule)
    assert canvas.shape == (128, 512, 3) and np.all(canvas == 76)


@pytest.mark.slow
def test_a_few_formulas_are_learnt_by_heart():
    config = recipe(
        'demo', 'image.width=128', 'formulas.width=128', 'formulas.tokens=2,5', 'model.width=32',
        'model.layers=1', 'model.feed_forward=64', 'model.widths=8,16', 'text.max_length=6')
    source, vocab = open_set('formulas:train', config, ''), vocabulary.from_config(config.text)
    rows = source.rows(range(6))
    canvases, sizes = fit_batch([row.image for row in rows], config.image)
    ids = [vocab.encode(row.text).ids for row in rows]
    length = np.array([len(each) for each in ids])
    tokens = np.array([[*each, *[-1] * (6 - len(each))] for each in ids])
    model = models.build(config, vocab)
    tx = optimizer.optimizer(config, lambda step: 3e-3)
    batch = {'image': canvases, 'size': sizes, 'tokens': tokens, 'length': length,
             'weight': np.ones(6, np.float32), 'index': np.arange(6)}
    state = jax.jit(lambda key: make_state(model, tx, 0.0, key))(jax.random.key(0))
    step = jax.jit(make_step(model, tx, lambda step: 3e-3, config))
    for _ in range(120):
        state, _ = step(state, batch)
    result = jax.jit(model.decode)({'params': state.params, 'stats': state.stats}, canvases, sizes, 6)
    texts = [vocab.decode(row[0]) for row in np.asarray(result['tokens']).tolist()]
    assert texts == [row.text for row in rows]
