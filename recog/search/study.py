"""The trials of a search as Optuna keeps them, in a file of the search's folder."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recog.errors import ConfigError
from recog.search.space import Range, text

FILE, NAME = 'study.log', 'recog'
FIRST = 5  # trials that end before any is pruned


class Trial(NamedTuple):
    """A trial: its number and the values of its fields as they stand in a command."""

    number: int
    values: Mapping[str, str]
    own: Any = None  # Optuna's


class Ended(NamedTuple):
    """What came of a trial."""

    trial: Trial
    state: str  # complete, pruned, failed, running
    accuracy: float | None


def check() -> None:
    """Refuse to search without Optuna."""
    if importlib.util.find_spec('optuna') is None:
        raise ConfigError("recog search needs optuna: pip install 'recog[search]'")


class Study:
    """The trials so far, and what to try next."""

    def __init__(self, folder: Path, ranges: Sequence[Range], about: Mapping[str, Any], *, seed: int = 0,
                 prune: bool = True):
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._ranges = optuna, {each.field: each for each in ranges}
        file = JournalFileBackend(str(folder / FILE))
        storage = optuna.storages.JournalStorage(file)
        self._study = optuna.create_study(storage=storage, study_name=NAME, direction='maximize',
                                          load_if_exists=True)
        self._refuse_another(folder, {**about, 'space': [str(each) for each in ranges]})
        # A resumed search does not propose again what it began with.
        seed += len(self._study.trials)
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study.pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST) if prune else \
            optuna.pruners.NopPruner()

    def _refuse_another(self, folder: Path, about: Mapping[str, Any]) -> None:
        known = self._study.user_attrs
        for name, value in about.items():
            if name in known and known[name] != value:
                raise ConfigError(f'--workdir {folder} holds another search: {name} {known[name]} -> '
                                  f'{value}; choose another')
            if name not in known:
                self._study.set_user_attr(name, value)

    @property
    def begun(self) -> int:
        """How many trials there are."""
        return len(self._study.trials)

    def unfinished(self) -> list[Trial]:
        """Trials that were begun and have not ended."""
        running = self._optuna.trial.TrialState.RUNNING
        return [self._trial(self._optuna.trial.Trial(self._study, frozen._trial_id), frozen.params)
                for frozen in self._study.trials if frozen.state == running]

    def ask(self) -> Trial:
        """A new trial."""
        trial = self._study.ask({field: self._distribution(each) for field, each in self._ranges.items()})
        return self._trial(trial, trial.params)

    def _trial(self, own: Any, params: Mapping[str, Any]) -> Trial:
        return Trial(own.number, {name: text(self._ranges[name], params[name]) for name in self._ranges}, own)

    def _distribution(self, each: Range) -> Any:
        kinds = self._optuna.distributions
        if each.kind == 'choice':
            return kinds.CategoricalDistribution(each.choices)
        if each.kind == 'int':
            return kinds.IntDistribution(int(each.low), int(each.high))
        return kinds.FloatDistribution(each.low, each.high, log=each.kind == 'log')

    def is_hopeless(self, trial: Trial, accuracies: Sequence[float]) -> bool:
        """Whether a trial with these evaluations is worse than most were after as many."""
        known = self._study.trials[trial.number].intermediate_values
        for number, accuracy in enumerate(accuracies, 1):
            if number not in known:  # of a trial that goes on, some are
                trial.own.report(accuracy, number)
        return trial.own.should_prune()

    def complete(self, trial: Trial, accuracy: float) -> None:
        """A trial came to its end."""
        self._study.tell(trial.number, accuracy)

    def prune(self, trial: Trial) -> None:
        """A trial was ended as hopeless."""
        self._study.tell(trial.number, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, trial: Trial) -> None:
        """A trial failed."""
        self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def trials(self) -> list[Ended]:
        """All trials; a pruned one has the accuracy of its last evaluation."""
        states = {'COMPLETE': 'complete', 'PRUNED': 'pruned', 'FAIL': 'failed'}
        found = []
        for frozen in self._study.trials:
            values = frozen.intermediate_values
            last = values[max(values)] if values else None
            accuracy = frozen.values[0] if frozen.values else last
            found.append(Ended(self._trial(frozen, frozen.params), states.get(frozen.state.name, 'running'),
                               accuracy))
        return found

    def best(self) -> Ended | None:
        """The best of the trials that came to their end, the first of equals."""
        done = [each for each in self.trials() if each.state == 'complete' and each.accuracy is not None]
        return max(done, key=lambda each: (each.accuracy, -each.trial.number), default=None)

    def importances(self) -> dict[str, float]:
        """The share of each field in what makes trials differ (PED-ANOVA); empty if that cannot be said."""
        done = [each.accuracy for each in self.trials() if each.state == 'complete']
        if len(done) < FIRST or len(set(done)) == 1:
            return {}
        importance = self._optuna.importance
        return importance.get_param_importances(self._study,
                                                evaluator=importance.PedAnovaImportanceEvaluator())
