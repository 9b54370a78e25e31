"""Searches: what ranges mean, what is refused, and that trials are pruned, kept and gone on with."""

import argparse
import json
import shlex

import pytest
from small import DEMO, NARROW

from recog.commands import command_line, search
from recog.errors import ConfigError
from recog.report import search_page
from recog.search import search as searching
from recog.search.search import Plan
from recog.search.space import parse, space
from recog.search.study import Study
from recog.workdir import files

RANGES = ('optimizer.rate=log(1e-4,3e-3)', 'model.lstm_layers=int(0,2)')


def test_ranges_are_parsed_and_written_alike():
    for given in (*RANGES, 'train.ema=uniform(0.5,0.9)', 'schedule.name=choice(cosine,one_cycle)'):
        assert parse(str(parse(given))) == parse(given)
    assert parse('a=choice((1, 2),(3, 4))').choices == ('(1, 2)', '(3, 4)')


@pytest.mark.parametrize(('given', 'message'), [
    ('optimizer.rate', 'must be FIELD=KIND'), ('optimizer.rate=lg(1,2)', "did you mean 'log'.*uniform, int"),
    ('optimizer.rate=log(0,1)', 'two numbers above 0'), ('optimizer.rate=log(2,1)', 'the lower first'),
    ('optimizer.rate=log(1)', 'two numbers'), ('train.batch=int(1.5,3)', 'two whole numbers'),
    ('schedule.name=choice(cosine)', 'at least two'),
    ('optimizer.rat=log(1,2)', "did you mean 'optimizer.rate'"),
    ('train.ema=uniform(0.5,1)', 'config.train.ema=1.0 must be at least 0 and below 1'),
    ('train.batch=uniform(8,16.5)', 'must be of type int'),
    ('schedule.name=choice(cosine,cosin)', "did you mean 'cosine'"),
    ('model.backbone=choice(small,resnet)', 'resnet34_vd'),
    ('eval.limit=int(1,5)', 'is the same in all trials'), ('train.batch=int(4,8)', 'given twice'),
])
def test_a_wrong_range_is_refused_in_one_line(given, message):
    with pytest.raises(ConfigError, match=message) as refused:
        space([given], DEMO, ['--config.train.batch=16'] if 'twice' in message else [])
    assert '\n' not in str(refused.value) and given.partition('=')[0] in str(refused.value)


def test_without_optuna_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert command_line.main(['search', DEMO, '--space', RANGES[0], '--workdir', str(tmp_path / 'new')]) == 2
    assert capsys.readouterr().err == "recog search: recog search needs optuna: pip install 'recog[search]'\n"
    assert not (tmp_path / 'new').exists()


class Slots:
    """A place for one run at a time, whose accuracy after each look is what a function of its rate says."""

    def __init__(self, interrupt=-1):
        self.running, self.over, self.interrupt, self.stopped = None, [], interrupt, []

    def free(self):
        return self.running is None

    def start(self, run):
        if self.interrupt == 0:
            raise KeyboardInterrupt
        self.interrupt -= 1
        self.running, self.steps = run, 0
        run.workdir.mkdir(exist_ok=True)

    def stop(self, run):
        self.stopped.append(run.name)
        self.over, self.running = [(run, 0, 1.0)], None

    def ended(self):
        if self.running:
            self.steps += 1
            name = self.running.config.eval.sets[0]
            accuracy = self.running.config.optimizer.rate * 100 * self.steps
            with (self.running.workdir / files.LOG).open('a') as log:
                log.write(json.dumps({'step': self.steps, f'{name}/accuracy': accuracy}) + '\n')
            if self.steps == 3:
                (self.running.workdir / files.SAMPLES_SHEET).touch()
                (self.running.workdir / files.RESULTS).write_text(json.dumps({'sets': {name: {
                    'accuracy': accuracy}}}))
                self.over, self.running = [(self.running, 0, 1.0)], None
        over, self.over = self.over, []
        return over

    def close(self):
        pass


def options(place, **given):
    return argparse.Namespace(**{
        'recipe': DEMO, 'space': list(RANGES), 'trials': 12, 'workdir': str(place), 'no_pruning': False,
        'search_seed': 0, 'data': './data', 'overrides': [], 'parallel': 1, 'devices_per_run': 0, 'slurm': '',
        'slurm_option': [], **given})


def test_trials_are_pruned_and_gone_on_with_and_the_best_is_a_command(tmp_path, monkeypatch, capsys):
    pytest.importorskip('optuna')
    monkeypatch.setattr(searching, 'POLL', 0)
    slots = [Slots(interrupt=0), Slots()]
    monkeypatch.setattr(search, '_slots', lambda *_: slots[0])
    with pytest.raises(KeyboardInterrupt):
        search.run(options(tmp_path / 'runs'))
    assert slots.pop(0).running is None and not (tmp_path / 'runs' / 'search.html').exists()
    capsys.readouterr()
    assert search.run(options(tmp_path / 'runs')) == 0
    said = capsys.readouterr().out
    ranges = [parse(each) for each in RANGES]
    study = Study(tmp_path / 'runs', ranges, {})
    trials = study.trials()
    states = [each.state for each in trials]
    assert len(trials) == 12 and set(states) == {'complete', 'pruned'} and states[:5] == ['complete'] * 5
    assert len(slots[0].stopped) == states.count('pruned')
    best = max((each for each in trials if each.state == 'complete'), key=lambda each: each.accuracy)
    assert study.best().trial.number == best.trial.number
    line = next(line for line in said.splitlines() if line.startswith('  recog train'))
    assert f'--config.optimizer.rate={best.trial.values["optimizer.rate"]}' in shlex.split(line)
    assert 'importance: optimizer.rate' in said
    page = (tmp_path / 'runs' / 'search.html').read_text()
    assert 'The best recipe' in page and page.count('<svg') == 4 and 'trial-0011' in page
    searching.search(study, Plan(DEMO, (), tmp_path / 'runs', ''), Slots(interrupt=0), 12)  # starts nothing
    with pytest.raises(ConfigError, match='holds another search: space'):
        search.run(options(tmp_path / 'runs', space=[RANGES[0]]))


def test_a_trial_is_a_training_that_reports_on_validation_alone(tmp_path):
    plan = Plan(DEMO, (*NARROW, '--config.eval.report=words:test'), tmp_path, 'data')
    trial = type('Trial', (), {'number': 3, 'values': {'optimizer.rate': '0.001'}})
    run = plan.run(trial)
    assert run.name == 'trial-0003' and run.config.eval.report == () and run.config.optimizer.rate == 0.001
    assert run.command[3:6] == ['train', '--config', DEMO] and '--config.eval.report=' in run.command


def test_the_page_says_why_it_knows_nothing_of_importance_and_shortens_values(tmp_path):
    trials = [search_page.Trial(f'trial-{number}', {'optimizer.rate': f'0.00{number}52065381'},
                                'complete', 0.0)
              for number in (1, 2)]
    search_page.write(tmp_path / 'search.html', 'A search', '', trials, {}, 'words:validation', ())
    page = (tmp_path / 'search.html').read_text()
    assert 'once trials of different accuracies' in page
    assert '>0.001521<' in page and '0.00152065381' not in page
