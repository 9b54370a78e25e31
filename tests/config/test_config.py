"""The recipe: loading, overrides, and the one line that says what is wrong."""

import json

import pytest
from small import DEMO

from recog.config import experiments, recipe, values
from recog.errors import ConfigError


def refusal(*overrides):
    with pytest.raises(ConfigError) as error:
        experiments.load(DEMO, [f'--config.{override}' for override in overrides])
    assert '\n' not in str(error.value)
    return str(error.value)


def test_an_override_changes_its_field_only():
    plain, changed = experiments.load(DEMO), experiments.load(DEMO, ['--config.train.batch=32'])
    differing = {name for name, value in values.flat(plain).items() if values.flat(changed)[name] != value}
    assert differing == {'train.batch'} and changed.train.batch == 32


def test_loading_twice_shares_nothing():
    experiments.load(DEMO, ['--config.optimizer.rate=9.0'])
    assert experiments.load(DEMO).optimizer.rate != 9.0


def test_an_unknown_field_is_refused_with_the_nearest():
    assert "did you mean 'train.batch'" in refusal('train.bach=3')


def test_an_unknown_variant_is_refused_with_the_nearest_and_all_names():
    with pytest.raises(ConfigError, match="'dmo' is not known .did you mean 'demo'.*r34.*modern"):
        experiments.load(DEMO.replace(':demo', ':dmo'))


def test_a_missing_experiment_file_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match='crn.py.* does not exist .did you mean .*crnn.py'):
        experiments.load(DEMO.replace('crnn.py', 'crn.py'))


def test_a_whole_group_cannot_be_replaced():
    assert 'group of fields' in refusal('optimizer={"rate": 1.0}')


@pytest.mark.parametrize('override',
                         ['train.batch=abc', 'train.batch=3.5', 'optimizer.rate=fast', 'seeds.init=x'])
def test_a_value_of_the_wrong_type_is_refused_with_field_value_and_type(override):
    message = refusal(override)
    assert override.partition('=')[0] in message and override.partition('=')[2] in message
    assert 'type' in message


@pytest.mark.parametrize('override, allowed', [
    ('text.case=upper', "'lower', 'keep'"), ('schedule.name=cosin', "did you mean 'cosine'"),
    ('train.ema=1.0', 'below 1'),
    ('image.augment.probability=2.0', 'between 0 and 1'), ('train.length=5', '72 epochs'),
    ('train.length=5 %', 'epochs, steps'),
    ('train.batch=0', 'at least 1'),
    ('image.augment.perspective=0.3', 'at most 0.25'), ('image.augment.downscale=1.0', 'below 1'),
    ('image.augment.jpeg=96.0', 'at most 95'),
    ('model.backbone=resnet', 'resnet34_vd'), ('data.weights=0.5,0.5', 'one number above 0'),
    ('render.letters=5,3', 'shortest, longest'), ('data.train=', 'at least one set'),
    ('render.letters=a,b', 'type int'),
])
def test_a_value_that_is_not_allowed_is_refused_with_what_is(override, allowed):
    assert allowed in refusal(override)


def test_a_batch_that_cannot_be_cut_is_refused():
    assert 'multiple of config.train.accumulate=3' in refusal('train.batch=64', 'train.accumulate=3')
    refused = refusal('train.batch=64', 'train.accumulate=2', 'train.norm_group=24')
    assert 'must divide the 32 images' in refused


@pytest.mark.parametrize('name', ['iiit5k:test', 'svt', 'ic13/857', 'lmdb/evaluation', 'rendered:test'])
def test_a_test_set_may_not_choose_checkpoints_unless_allowed(name):
    assert 'is a test set' in refusal(f'eval.sets={name}')
    allowed = [f'--config.eval.sets={name}', '--config.eval.allow_test=True']
    assert experiments.load(DEMO, allowed).eval.sets == (name,)


def test_a_validation_or_training_part_may_choose_checkpoints():
    names = ('rendered:validation', 'iiit5k:train', 'mjsynth:validation', 'train/iiit5k')
    assert experiments.load(DEMO, [f'--config.eval.sets={",".join(names)}']).eval.sets == names


def test_tuples_are_given_with_commas_or_in_brackets():
    for text in ('40 epochs,60 epochs', "('40 epochs', '60 epochs')"):
        overrides = [f'--config.schedule.boundaries={text}', '--config.schedule.factors=0.1,0.1']
        config = experiments.load(DEMO, overrides)
        assert config.schedule.boundaries == ('40 epochs', '60 epochs')
        assert config.schedule.factors == (0.1, 0.1)


def test_a_config_survives_json():
    config = experiments.load(DEMO, ['--config.seeds.init=7'])
    again = recipe.from_json(recipe.to_json(config))
    assert values.flat(again) == values.flat(config)
    assert recipe.override(again, ['--config.train.batch=8']).train.batch == 8


def test_lengths_are_epochs_steps_images_or_percent():
    lengths = {'2 epochs': 20, '7 steps': 7, '640 images': 10, '5 %': 50, '0.5 epochs': 5}
    assert {text: values.steps(text, batch=64, epoch=10, total=1000) for text in lengths} == lengths


def test_the_seeds_streams_differ_and_can_be_set_alone():
    config = experiments.load(DEMO, ['--config.seeds.data=99'])
    streams = {stream: values.seed(config, stream) for stream in ('init', 'data', 'augment', 'dropout')}
    assert len(set(streams.values())) == 4 and streams['data'] == 99
    other = experiments.load(DEMO, ['--config.seed=1', '--config.seeds.data=99'])
    assert values.seed(other, 'data') == 99 and values.seed(other, 'init') != streams['init']


def test_a_recipe_written_before_a_field_came_has_its_default():
    old = recipe.base(name='crnn', backbone='small').to_dict()
    del old['image']['ink'], old['optimizer']['groups']
    config = recipe.from_json(json.dumps(old))
    assert config.image.ink == '' and config.optimizer.groups == () and config.model.backbone == 'small'
