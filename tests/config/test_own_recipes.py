"""Recipes outside the clone, models outside the package, and what the fields of a recipe mean."""

import os
import re
import subprocess
import sys

import pytest
from small import NARROW, ROOT

from recog.config import experiments, explained
from recog.errors import ConfigError

BLOCKS = re.findall(r'```python\n(.*?)```', (ROOT / 'experiments' / 'README.md').read_text(), re.S)
FILES = ('my_words.py', 'my_package/my_model.py', 'my_recipe.py')


@pytest.fixture
def own(tmp_path):
    """The files of the documentation, in a folder that is none of recog's."""
    (tmp_path / 'my_package').mkdir()
    for name, text in zip(FILES, BLOCKS, strict=True):
        (tmp_path / name).write_text(text)
    return tmp_path


def recog(folder, *line):
    """Run a command in a folder; what it printed."""
    environment = {**os.environ, 'PYTHONPATH': f'{folder}:{ROOT}'}
    done = subprocess.run([sys.executable, '-m', 'recog', *map(str, line)], cwd=folder, env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_recipe_outside_the_clone_changes_one_of_recog(own):
    config = experiments.load(str(own / 'my_words.py'))
    base = experiments.load(f'{ROOT}/experiments/crnn.py:demo')
    assert config.data.train == ('mine:train',) and config.init == 'runs/demo' and config.model == base.model
    assert config.train.batch == base.train.batch
    said = recog(own, 'config', 'my_words.py:mine', '--explain')
    assert "* data.train = ('mine:train',)" in said and '* model.backbone = ' in said


@pytest.mark.slow
def test_a_model_outside_the_package_is_trained_and_reads(own):
    recog(own, 'train', '--config', 'my_recipe.py:light', '--workdir', 'run', '--devices', 0, *NARROW,
          '--config.render.count=64', '--config.train.length=1 steps', '--config.eval.limit=8',
          '--config.eval.report=rendered:validation[:8]', '--config.eval.sets=rendered:validation')
    assert recog(own, 'predict', 'run', 'run/samples/0.png', '--devices', 0).startswith('run/samples/0.png\t')


@pytest.mark.parametrize(('text', 'message'), [
    ("BASE = 'crn.py:demo'", "BASE: 'crn.py' is neither beside it nor in "),
    ("BASE = 'crnn.py:dem'", r"variant 'dem' is not known \(did you mean 'demo'\?\)"),
    ('BASE = 3', 'BASE=3 must be FILE:VARIANT'),
    ("BASE = 'own.py'", "'own.py' is based on this file"),
    ("BASE = 'crnn.py'\nVARIANTS = {'a': {'data.trian': ()}}", 'own.py:a: config.data.trian is not a field'),
    ("BASE = 'crnn.py'\nVARIANTS = {'a': {'train.batch': 'x'}}", 'train.batch=.x. must be of type int'),
    ("BASE = 'crnn.py'\nVARIANTS = {'a': {'model.backbone': 'x'}}", 'model.backbone=.x. is not one of'),
])
def test_a_mistake_in_a_recipe_of_ones_own_is_named(tmp_path, text, message):
    (tmp_path / 'own.py').write_text(text + '\n')
    with pytest.raises(ConfigError, match=message):
        experiments.load(str(tmp_path / 'own.py'))


def test_files_that_are_based_on_each_other_are_refused(tmp_path):
    for one, other in (('a', 'b'), ('b', 'a')):
        (tmp_path / f'{one}.py').write_text(f"BASE = '{other}.py'\n")
    with pytest.raises(ConfigError, match="'a.py' is based on this file"):
        experiments.load(str(tmp_path / 'a.py'))


def test_a_variant_may_have_a_model_with_fields_of_its_own(tmp_path):
    (tmp_path / 'own.py').write_text(
        "BASE = 'crnn.py:demo'\nVARIANTS = {'a': {'model': {'name': 'x.y', 'size': 3}}}\n")
    assert experiments.load(str(tmp_path / 'own.py')).model.to_dict() == {'name': 'x.y', 'size': 3}


@pytest.mark.parametrize(('name', 'message'), [
    ('crn', r"is not one of can, .*crnn.*\(did you mean 'crnn'\?\), nor a module of your own"),
    ('no_such.module', "Python finds no module 'no_such'"), ('os.path', 'must define build')])
def test_a_model_that_is_none_is_refused(narrow, name, message):
    from recog import models

    with pytest.raises(ConfigError, match=message):
        models.build(narrow(f'model.name={name}'), None)


@pytest.mark.parametrize('file', sorted((ROOT / 'experiments').glob('*.py')), ids=lambda file: file.stem)
def test_every_field_has_a_meaning_and_only_what_differs_is_marked(file):
    said = '\n'.join(explained.lines(experiments.load(str(file)), str(file)))
    fields = re.split(r'\n(?=[* ] [a-z])', said)[1:]
    assert all(re.search(r'\S {2,}\S|\n {20,}\S', field) for field in fields), fields
    assert len(fields) > 100 and not any(field.startswith('* model.') for field in fields)
    assert "\n  seed = 0 " in said and max(map(len, said.split('\n'))) < 160
    changed = explained.lines(experiments.load(str(file), ['--config.seed=3']), str(file))
    assert any(re.match(r'\* seed = 3 .*\(default 0\)', line) for line in changed)
