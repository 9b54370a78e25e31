"""The shapes of a run are compiled side by side before its first step, and once."""

import jax
import pytest
from narrow_models import RECIPES
from runs import trained

from recog.config import recipe
from recog.train.compiling import side_by_side

# Seven images 20 pixels high and 30 to 60 wide: four fit the smaller canvas, three need the larger.
CANVASES = {
    'image.width': 64, 'data.buckets': ('32x48',),
    'data.train': ('some:train',), 'eval.sets': ('some:train',),
    'train.length': '1 epochs', 'train.batch': 2, 'train.ema': 0.5, 'eval.batch': 2, 'data.threads': 0,
    'schedule.name': 'constant', 'schedule.warmup': '0 steps', 'schedule.boundaries': (),
    'log.to': (),
}


@pytest.fixture
def compilations():
    """The names of the functions that XLA has compiled, or fetched from its cache, in order."""
    found = []

    def listen(event, duration, **about):
        if event == '/jax/core/compile/backend_compile_duration':
            found.append(about.get('fun_name'))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def test_all_shapes_are_compiled_before_the_first_step_and_none_again(folder, tmp_path, capsys, compilations):
    root = folder('some/train', [(f'{number}.png', 'x + 1') for number in range(7)])
    config = recipe.changed(RECIPES['can'].copy_and_resolve_references(), CANVASES)
    trained(config, tmp_path / 'run', root=root)
    said = capsys.readouterr().out
    assert 'compiling 2 shapes of training and 2 of evaluation\n' in said
    assert 'compiled 2 shapes of training and 2 of evaluation in ' in said
    assert said.index('compiled 2') < said.index('step 1/')
    names = [name for name in compilations if name in ('jit(step)', 'jit(decode)')]
    assert names == ['jit(step)'] * 2 + ['jit(decode)'] * 2


def test_a_single_shape_is_left_to_its_first_use():
    said = []
    assert side_by_side({'one': pytest.fail}, {'other': pytest.fail}, said.append) == {}
    assert said == ['compiling; the first step follows']
