"""Checkpoints by Orbax: all that a step is made of is saved together or not at all.

That is variables, optimizer, position in the data, config, vocabulary and metrics.
"""

import contextlib
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from recog.config import values
from recog.devices import processes
from recog.errors import ConfigError, one_line
from recog.workdir import array_digests
from recog.workdir.faults import Damaged, SaveFailed, last_step, refuse_unreadable, why_not_written
from recog.workdir.folder import is_remote
from recog.workdir.scores import Kept, Score, ranked, score

FOLDER = 'checkpoints'
# Orbax measures its patience by the clock on the wall, which may jump by hours.
PATIENCE = 10 ** 9  # seconds


class Checkpoints:
    """The checkpoints of a workdir; saving goes on in the background until `close`."""

    def __init__(self, workdir: Path, keep: int = 1, *, measure: str = '', writing: bool = True):
        """`measure` is what measures the steps to come; only accuracies that it measured compete."""
        import orbax.checkpoint as ocp
        from etils import epath

        self.folder = folder = (workdir if is_remote(workdir) else workdir.resolve()) / FOLDER
        if writing and jax.process_index() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            # Orbax ignores those of a killed save for ever.
            for leftover in folder.glob('*.orbax-checkpoint-tmp'):
                epath.Path(leftover).rmtree()
        processes.gather(0)
        policies = ocp.checkpoint_managers
        self._ocp, self._keep, self._measure = ocp, keep, measure
        self._scores: dict[int, Score] = {}
        # Two of the newest, should one be damaged.
        kept = policies.AnyPreservationPolicy([policies.LatestN(2), Kept(workdir, self._scores, keep)])
        waiting = ocp.AsyncOptions(timeout_secs=PATIENCE, create_directories_asynchronously=False)
        self._manager = self._managed(ocp.CheckpointManagerOptions(
            preservation_policy=kept, async_options=waiting) if writing else
            ocp.CheckpointManagerOptions(read_only=True, create=False))
        if writing:
            self._scores.update(self._read_scores())

    def _managed(self, options: Any) -> Any:
        """Orbax's manager of the folder."""
        try:
            return self._ocp.CheckpointManager(self.folder, item_names=('variables', 'optimizer', 'run'),
                                               options=options)
        except Exception as error:  # it looks at every step, and at who owns it
            for step in self.folder.iterdir():
                refuse_unreadable(step, error)
            raise OSError(f'{self.folder} cannot be read: {type(error).__name__} {one_line(error)}') from None

    def is_best(self, metrics: dict[str, float]) -> bool:
        """Whether a step with these metrics would be one of the `keep` best; as good as the last of them is
        not enough."""
        best = ranked(self._scores, self._measure)[:self._keep]
        worst = -math.inf if len(best) < self._keep else self._scores[best[-1]].accuracy if best else math.inf
        return math.isfinite(accuracy := metrics.get('accuracy', -math.inf)) and accuracy > worst

    def save(self, step: int, state: Any, run: dict[str, Any], metrics: dict[str, float]) -> None:
        """Save a step: `state` has variables and perhaps optimizer, `run` is what JSON holds of it.

        Orbax does not notice flipped bits, so every leaf and the record itself carry a digest.
        """
        args = self._ocp.args
        self._check_space(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
        digests = {part: array_digests.digests(tree) for part, tree in state.items()}
        run = {**run, 'metrics': metrics, 'digests': digests}
        run['digest'] = values.digest(run)
        trees = {part: args.StandardSave(tree) for part, tree in state.items()}
        parts = args.Composite(**trees, run=args.JsonSave(run))
        try:
            if found := score(run):
                self._scores[step] = found  # before it is saved: it may be one of those to keep
            saved = self._manager.save(step, args=parts)
        except Exception as error:
            raise self._failed(error) from error
        if not saved:
            raise RuntimeError(f'checkpoint {step} was not saved: '
                               f'{self._manager.latest_step()} is there already')

    def _check_space(self, needed: int) -> None:
        """Refuse to begin what the disk cannot hold: Orbax would say so in a thousand lines."""
        if jax.process_index() == 0 and not is_remote(self.folder):
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise self._failed(f'No space left on device ({free / 1e6:,.0f} MB free, '
                                   f'{needed / 1e6:,.0f} MB needed)')

    def _failed(self, why: BaseException | str) -> SaveFailed:
        return SaveFailed(f'{self.folder}: saving failed: {why_not_written(why)}; '
                          f'last checkpoint: {last_step(self.folder)}')

    def latest(self) -> int | None:
        """The newest step, or None."""
        return self._manager.latest_step()

    def best(self) -> int:
        """The step to use: the best of those measured as the newest was, else the newest."""
        return (ranked(self._read_scores()) or [max(self.steps())])[0]

    def _read_scores(self) -> dict[int, Score]:
        """The scores of the steps that are there; one whose record is damaged has none, and one whose record
        cannot be read now is refused: it may be the best."""
        found = {}
        for step in self.steps():
            with contextlib.suppress(Damaged):
                found[step] = score(self.run(step))
        return {step: each for step, each in found.items() if each}

    def steps(self) -> list[int]:
        """The steps that are there."""
        return sorted(self._manager.all_steps())

    def run(self, step: int) -> dict[str, Any]:
        """The JSON part of a step; `Damaged` where it is not what was saved."""
        record = self._read(step, 'run', self._ocp.args.JsonRestore())
        found = {name: value for name, value in record.items() if name != 'digest'}
        if 'digest' not in record or values.digest(found) != record['digest']:
            raise Damaged(step, 'run: config, vocabulary, position or metrics are not what was saved')
        return record

    def restore(self, step: int, part: str, layout: Any) -> Any:
        """Part `variables` or `optimizer` of a step, laid out as the abstract arrays of `layout` are.

        `Damaged` where it is not what was saved.
        """
        digests = self.run(step)['digests']
        if part not in digests:
            workdir = self.folder.parent
            raise ConfigError(f'{workdir} holds imported weights, which cannot be trained on; '
                              f'begin with them in another workdir: --config.init={workdir}')
        saved = digests[part]
        paths = {array_digests.name(path) for path, _ in jax.tree_util.tree_flatten_with_path(layout)[0]}
        if paths != set(saved):
            one = min(paths ^ set(saved))
            where = 'the recipe, not in the checkpoint' if one in paths else \
                'the checkpoint, not in the recipe'
            raise ConfigError(f'{self.folder}, step {step}: {part}/{one} is in {where}; '
                              'another recipe wrote it')
        tree = self._read(step, part, self._ocp.args.StandardRestore(layout))
        wrong = [path for path, value in array_digests.digests(tree).items() if value != saved[path]]
        if wrong:
            more = f' and {len(wrong) - 1} more' if wrong[1:] else ''
            raise Damaged(step, f'{part}/{wrong[0]}{more} changed on disk')
        return tree

    def _read(self, step: int, part: str, how: Any) -> Any:
        for again in (False, True):
            try:
                return self._manager.restore(step, args=self._ocp.args.Composite(**{part: how}))[part]
            # Orbax and TensorStore raise nearly anything for files that are cut or missing.
            except Exception as error:
                refuse_unreadable(self.folder / str(step), error)
                if again:  # else the fault may have passed since
                    raise Damaged(step, f'{part}: {one_line(error)}') from error
        raise AssertionError

    def newest_sound(self, read: Callable[[int], Any], *, set_aside: bool = False) -> Any:
        """What `read` gives for the newest step that is not damaged, None without one; damage is reported."""
        return self.first_sound(sorted(self.steps(), reverse=True), read, set_aside=set_aside)

    def first_sound(self, steps: Sequence[int], read: Callable[[int], Any], *,
                    set_aside: bool = False) -> Any:
        """What `read` gives for the first step that is not damaged, None without one; damage is reported."""
        for step in steps:
            try:
                return read(step)
            except Damaged as error:
                print(f'recog: {self.folder}: {error}; trying an older step', file=sys.stderr)
                if set_aside:
                    self._set_aside(step)
        return None

    def _set_aside(self, step: int) -> None:
        """Move a damaged step out of the way, so that it can be saved again."""
        if jax.process_index() == 0:
            _move_aside(self.folder / str(step))
        processes.gather(0)
        self._scores.pop(step, None)
        self._manager.reload()

    def close(self) -> None:
        """Finish saving: without this the last checkpoint would be lost in silence."""
        try:
            self._manager.close()
        except Exception as error:
            raise self._failed(error) from error


def _move_aside(step: Path, why: str = '') -> None:
    """Move a damaged step to the workdir's folder `damaged`."""
    if why:
        print(f'recog: {step.parent}: checkpoint {step.name} is damaged: {why}; trying an older step',
              file=sys.stderr)
    place = step.parents[1] / 'damaged'
    place.mkdir(exist_ok=True)
    step.rename(place / f'{step.name}-{time.time_ns()}')
