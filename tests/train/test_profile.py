"""A training's steps recorded by the profiler, and its layers' gradient norms."""

import numpy as np
from runs import prepared
from small import DEMO, NARROW

from recog.commands import command_line
from recog.train.loop import train_to_end
from recog.workdir import description, files


def test_steps_are_recorded_and_where_is_said(narrow, tmp_path, capsys):
    config = narrow('train.length=6 steps', 'eval.every=0 steps', 'checkpoint.every=0 steps',
                    'render.count=64', 'log.layer_norms=True')
    run, workdir = prepared(config), tmp_path / 'run'
    description.write(workdir, config, run.vocab)
    train_to_end(run, workdir, profile=2)
    trace, = workdir.rglob('*.trace.json.gz')
    said = capsys.readouterr().out
    assert said.count('steps recorded in') == 1 and trace.name in ' '.join(said.split())
    line = files.read_log(workdir)[-2]
    layers = {name: value for name, value in line.items() if name.startswith('grad_norm/')}
    assert len(layers) > 3 and any(name.startswith('grad_norm/backbone/') for name in layers)
    np.testing.assert_allclose(np.linalg.norm(list(layers.values())), line['grad_norm'], rtol=1e-4)


def test_a_number_of_steps_below_zero_is_refused(tmp_path, capsys):
    line = ['train', '--config', DEMO, *NARROW, '--workdir', str(tmp_path / 'run'), '--profile', '-1']
    assert command_line.main(line) == 2 and '--profile -1 must be above 0' in capsys.readouterr().err
