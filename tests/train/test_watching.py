"""What the log says in words when something is wrong, and the check that a recipe can learn at all."""

import re
from types import SimpleNamespace

import pytest
from small import DEMO, NARROW

from recog.commands import command_line
from recog.evaluation import measure
from recog.train import log, progress


def result(texts, truths):
    predictions = [measure.Prediction(str(i), 'words', truth, text, 1.0, text == truth, 0)
                   for i, (text, truth) in enumerate(zip(texts, truths, strict=True))]
    right = sum(each.right for each in predictions)
    return measure.Result('words', {'right': right, 'count': len(predictions)}, predictions, [], [])


@pytest.mark.parametrize('texts, said', [
    ([''] * 20, ['no word of words is right',
                 '100% of the words of words are read as nothing (a collapse to blanks)']),
    (['e'] * 20, ['no word of words is right', "100% of the words of words are read as 'e'"]),
    ([f'w{i}' for i in range(20)], []),
    ([f'x{i}' for i in range(20)], ['no word of words is right']),
])
def test_a_result_that_is_cause_for_concern_is_said_in_words(texts, said):
    assert measure.concerns(result(texts, [f'w{i}' for i in range(20)])) == said


def test_a_set_of_one_word_is_no_concern():
    assert measure.concerns(result(['same'] * 20, ['same'] * 20)) == []


@pytest.mark.parametrize('values, said', [
    ({'rows': 0.0, 'grad_norm': 0.0}, 'every label of the batch was dropped'),
    ({'rows': 4.0, 'grad_norm': 0.0}, 'the gradient is 0'),
    ({'rows': 4.0, 'grad_norm': 1.0, 'impossible': 4.0}, 'longer than the model can write'),
])
def test_a_step_that_is_cause_for_concern_is_said_in_words(values, said):
    assert len(log.concerns(values)) == 1 and said in log.concerns(values)[0]


def test_an_ordinary_step_is_none():
    assert log.concerns({'rows': 4.0, 'grad_norm': 1.0, 'impossible': 1.0}) == []


def test_the_overfit_check_tells_a_recipe_that_learns_from_one_that_does_not(capsys, monkeypatch):
    from recog.train import overfit

    line = ['train', '--config', DEMO, '--overfit', '8', '--devices', '0', *NARROW,
            '--config.model.lstm_hidden=32']
    assert command_line.main([*line, '--config.optimizer.rate=0.005']) == 0
    assert 'this recipe can learn' in capsys.readouterr().out
    monkeypatch.setattr(overfit, 'SECONDS', 0.5)
    assert command_line.main([*line, '--config.optimizer.rate=1e-9']) == 1
    assert 'this recipe does not learn' in capsys.readouterr().out


def test_the_overfit_check_needs_enough_examples(capsys, folder):
    root = folder('words', [('a.png', 'word'), ('b.png', '???')])
    status = command_line.main(['train', '--config', DEMO, '--overfit', '2', '--devices', '0',
                                '--data', str(root), '--config.data.train=words'])
    assert status == 2 and '--overfit 2: the training sets hold 1 usable examples' in capsys.readouterr().err


def test_training_needs_a_workdir_or_the_overfit_check(capsys):
    assert command_line.main(['train', '--config', DEMO]) == 2
    assert 'one of --workdir FOLDER, --overfit N and --find-rate is needed' in capsys.readouterr().err


def test_lines_have_at_most_110_columns_but_a_command_stays_whole(tmp_path, capsys):
    written = log.Log(tmp_path, 0, 5, first=True, tensorboard=False)
    written.say('words ' * 40 + '\nnext', command='recog train ' + '--config.a=b ' * 20)
    written.close()
    *lines, after, command = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and max(map(len, lines)) <= 110 and after == 'next'
    assert command == '  recog train ' + '--config.a=b ' * 20


def test_a_step_is_said_with_clock_share_loss_rate_speed_and_time_left():
    run = SimpleNamespace(total=2_000_000, plan=SimpleNamespace(average=1024.0))
    values = {'loss': 93.35142, 'rate': 1e-4, 'images_per_second': 1234.5, 'data_wait': 0.5, 'grad_norm': 1.0}
    said = progress._line(run, 100_000, values)
    assert re.fullmatch(r'\d\d:\d\d:\d\d  step 100000/2000000  5%  loss 93.35  rate 1.0e-04  1,234 images/s'
                        r'  437 h 47 min left  data wait 50%', said) and len(said) <= 110
    first, last = (progress._line(run, step, values | {'data_wait': 0.0}) for step in (1, 2_000_000))
    assert 'left' not in first and 'images/s' not in first and 'left' not in last


def test_what_is_dropped_is_listed_apart_from_what_is_changed(tmp_path):
    rejections = log.Rejections(tmp_path, 0, {})
    rejections.add(3, [(0, 'a.png', 'changed', "can't"), (1, 'b.png', 'too long', 'x' * 40)])
    rejections.add(3, [(0, 'a.png', 'changed', "can't")])
    assert [file.name for file in rejections.files] == ['rejected.tsv', 'changed.tsv']
    assert [file.read_text().count('\n') for file in rejections.files] == [2, 2]


def test_what_an_older_version_listed_is_not_listed_again(tmp_path):
    (tmp_path / 'rejected.tsv').write_text('row\treason\tid\ttext\n0\tchanged\ta.png\tcan\'t\n')
    log.Rejections(tmp_path, 0, {}).add(1, [(0, 'a.png', 'changed', "can't")])
    assert [file.name for file in tmp_path.iterdir()] == ['rejected.tsv']
