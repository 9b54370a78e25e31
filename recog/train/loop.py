"""The loop of training around its step.

Its order: step k runs; meanwhile the metrics of step k - 1 are read; whatever is due at k, an evaluation or a
checkpoint, happens before batch k + 1 is taken. So data position, state and step number are one integer. If
the devices hold the data, one call runs several steps, up to the next at which something is due.
"""

import contextlib
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import jax

from recog import models
from recog.config import recipe
from recog.data.plan import RULE
from recog.data.shared import shared
from recog.errors import one_line
from recog.evaluation import measure
from recog.reading.compiled import Compiled, decoder
from recog.train import optimizer, processes
from recog.train.advance import Resident, Streamed
from recog.train.advice import before, next_steps
from recog.train.compiling import side_by_side
from recog.train.forecast import forecast
from recog.train.log import clock
from recog.train.loggers.opened import Loggers
from recog.train.patience import is_used
from recog.train.plateau import rescaled
from recog.train.profile import Profile
from recog.train.progress import Progress
from recog.train.resume import begin
from recog.train.run import Run
from recog.train.step import make_step, parts
from recog.workdir import description
from recog.workdir.checkpoints import FOLDER, Checkpoints
from recog.workdir.faults import Unreadable, WriteFailed, last_step
from recog.workdir.folder import Mirror
from recog.workdir.opened import evaluated


def train_to_end(run: Run, workdir: Path, stop: processes.Stop | None = None, *,
                 announce: bool = False, loggers: Loggers | None = None, profile: int = 0) -> bool:
    """Train, or go on training, to the end of the recipe; False if a signal ended it earlier.

    With `announce`, some steps are measured first, and the log says how long all will take; `profile` is
    how many are recorded. A file that cannot be written or read ends it with the last checkpoint named.
    """
    try:
        with contextlib.ExitStack() as closing:
            if stop is None:
                stop = processes.Stop()
                closing.callback(stop.close)  # the caller's signal handlers are restored
            trainer = Trainer(run, workdir, stop, announce, loggers, profile)
            closing.callback(trainer.close)
            trainer.progress.log.say(f'{run.describe()}\nstarting at step {trainer.start}')
            if jax.process_index() == 0:
                for words in (*before(run, trainer.start), *shared(run.source.sources, run.validation)):
                    trainer.progress.log.say(f'warning: {words}')
            finished = trainer.fit()
            trainer.progress.say_rejections(workdir)
            return finished
    except (WriteFailed, Unreadable):
        raise
    except OSError as error:
        last = last_step(workdir / FOLDER)
        raise WriteFailed(f'{one_line(error)}; last checkpoint of {workdir}: {last}') from error


def _command() -> str:
    """The command line of this process."""
    return shlex.join(['recog', *sys.argv[1:]])


def _next(position: int, length: int) -> int | float:
    """The next multiple of a length, for ever away if the length is 0."""
    return position - position % length + length if length else math.inf


class Trainer:
    """A run on its workdir: restored or fresh, then stepped to its end."""

    def __init__(self, run: Run, workdir: Path, stop: processes.Stop, announce: bool = False,
                 loggers: Loggers | None = None, profile: int = 0):
        config = run.config
        self.run, self.stop, self.announce, self.advised = run, stop, announce, False
        self.loggers = loggers or Loggers()
        rate = optimizer.schedule(config, run.total, run.plan.epoch, run.plan.average)
        taken = config.optimizer.taken
        tx = optimizer.optimizer(config, rate, run.initial().rates(taken) if taken != 1 else None)
        periods = optimizer.starts(config, run.total, run.plan.epoch, run.plan.average)
        self.step = make_step(run.model, tx, rate, config, run.mesh, periods)
        self.decode = decoder(models.build(recipe.evaluated(config), run.vocab), run.mesh, config.eval.beam)
        self.checkpoints = Checkpoints(workdir, config.checkpoint.keep, measure=description.measure(config))
        self.state, self.layout, self.start, rows, self.patience = begin(run, tx, self.checkpoints)
        self.mirror = Mirror(workdir)
        self.progress = Progress(run, self.mirror.here, self.start, rows, self.checkpoints.latest,
                                 self.loggers)
        self.profile = Profile(self.mirror.here / 'profile', profile, self.progress.log.say)

    def fit(self) -> bool:
        """Step to the end, logging, evaluating and saving on the way; False if a signal ended it earlier."""
        run, config, progress = self.run, self.run.config, self.progress
        advance = (Resident if config.data.resident else Streamed)(run, self.step, self.layout, self.start)
        every = {'eval': run.steps(config.eval.every), 'checkpoint': run.steps(config.checkpoint.every)}
        position = self.start
        if position < run.total:
            self._compile(advance)
        if position < run.total and self.announce:
            progress.log.say(forecast(run, advance, self.state, position))
            progress.restart_clock()
        while position < run.total and not self.patience.is_over(config):
            stopped = self.stop.poll(run.mesh)
            until = int(min(run.total, *(_next(position, length) for length in every.values())))
            self.profile.before()
            self.state, sent = advance(self.state, position, until)
            self.profile.after(self.state, sent.steps)
            progress.add(position, sent)
            position += sent.steps
            due = {name for name, length in every.items()
                   if position == run.total or length and position % length == 0}
            if stopped():
                due.add('checkpoint')
            if due:
                progress.read()
                metrics = self._evaluate(position) if 'eval' in due else {}
                if metrics and self._lose_patience(position, metrics):
                    due.add('checkpoint')
                if 'checkpoint' in due or self.checkpoints.is_best(metrics):
                    self._save(position, metrics)
                progress.restart_clock()
            if stopped():
                progress.log.say(f'stopped by {self.stop.why} after step {position}, which is saved; '
                                 'the same command goes on from there:', command=_command())
                return False
        return True

    def _compile(self, advance: Streamed | Resident) -> None:
        """All shapes that training meets in an epoch and evaluation in a set, where there are several."""
        config, variables = self.run.config, evaluated(parts(self.state)['variables'])
        engine = Compiled(self.decode, variables, self.run.mesh)
        evaluation: dict[tuple, Callable] = {}
        for source in self.run.validation:
            evaluation |= engine.drafts(source, config, config.eval.limit)
        advance.compiled |= side_by_side(advance.drafts(self.state, self.start), evaluation,
                                         self.progress.log.say)

    def _evaluate(self, position: int) -> dict[str, float]:
        """Measure the validation sets; the figures of the first are the checkpoint's metrics."""
        config, run, log = self.run.config, self.run, self.progress.log
        variables = evaluated(parts(self.state)['variables'])
        metrics: dict[str, float] = {}
        for source in run.validation:
            result = measure.measure_set(self.decode, variables, source, run.vocab, config, run.mesh,
                                         config.eval.limit)
            log.write(position, {f'{source.name}/{name}': value for name, value in result.figures.items()},
                      f'{clock()}  step {position}  {measure.line(result)}')
            self.loggers.show(position, source, result)
            for concern in measure.concerns(result):
                log.say(f'step {position}: warning: {concern}')
                if not result.figures['right'] and not self.advised:
                    log.say(f'  what may help: {next_steps(run)}')
                    self.advised = True
            metrics = metrics or {name: float(value) for name, value in result.figures.items()}
        return metrics

    def _lose_patience(self, position: int, metrics: dict[str, float]) -> bool:
        """Count an evaluation; reduce the rate if it is time. Whether training is to end."""
        config, before = self.run.config, self.patience
        self.patience = before.after(metrics['accuracy'], config)
        scale = self.patience.scale(config)
        if scale != before.scale(config):
            self.state = self.state._replace(opt=rescaled(self.state.opt, scale))
            self.progress.log.say(f'step {position}: no better for {config.schedule.plateau.patience} '
                                  f'evaluations: the rate is multiplied by {scale:.3g} from here on')
        over = self.patience.is_over(config)
        if over:
            self.progress.log.say(f'step {position}: no better for {config.train.patience} evaluations '
                                  f'(config.train.patience): training ends here, of {self.run.total} steps')
        return over

    def _save(self, position: int, metrics: dict[str, float]) -> None:
        run = self.run
        sets = {source.name: len(source) for source in run.source.sources}
        record = description.record(run.config, run.vocab, position, self.progress.rejections.total(), sets,
                                    RULE, run.fingerprints)
        if is_used(run.config):
            record['patience'] = self.patience._asdict()
        self.mirror.send()  # before the checkpoint: a run that resumes there finds the lines up to it
        self.checkpoints.save(position, parts(self.state), record, metrics)

    def close(self) -> None:
        """Finish saving and close the log."""
        self.profile.close()
        self.checkpoints.close()
        self.progress.log.close()
        self.mirror.close()
