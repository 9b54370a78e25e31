"""Checkpoints: variables, optimizer, data position, config, vocabulary and metrics of a step, together or not at all (Orbax)."""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from recog import digest, models
from recog import workdir as workdirs
from recog.config import recipe, values
from recog.devices import processes
from recog.devices.mesh import one_device, replicated
from recog.errors import ConfigError
from recog.text.vocabulary import Vocab

FOLDER = 'checkpoints'
# Fields that make a workdir what it is: a run that differs in one of them is another experiment.
FIXED = ('model', 'text', 'image', 'optimizer.name')


class Damaged(RuntimeError):
    """A step that is not what was saved."""

    def __init__(self, step: int, reason: str):
        super().__init__(f'checkpoint {step} is damaged: {reason}')


class SaveFailed(OSError):
    """A checkpoint could not be written; those before it stay."""


class Opened(NamedTuple):
    """A trained model, from nothing but its workdir."""

    workdir: Path
    step: int
    config: ConfigDict
    vocab: Vocab
    model: models.Model
    variables: models.Variables
    metrics: dict[str, float]
    imported: str  # the file that the weights came from, '' where they were trained


class Checkpoints:
    """The checkpoints of a workdir; saving goes on in the background until `close`."""

    def __init__(self, workdir: Path, keep: int = 1, *, writing: bool = True):
        import orbax.checkpoint as ocp
        from etils import epath

        self.folder = folder = (workdir if workdirs.is_remote(workdir) else workdir.resolve()) / FOLDER
        if writing and jax.process_index() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob('*.orbax-checkpoint-tmp'):  # Orbax ignores those of a killed save for ever
                epath.Path(leftover).rmtree()
            for file in folder.glob('*/metrics/metrics'):
                if not _is_json(file):  # Orbax could not even be opened
                    _move_aside(file.parents[1], 'metrics are not what was saved')
        processes.gather(0)
        policies = ocp.checkpoint_managers
        # Two of the newest, should one be damaged. (max_to_keep with best_fn would delete the newest if it ranks low.)
        kept = [policies.LatestN(2)] + ([policies.BestN(get_metric_fn=_rank, n=keep)] if keep else [])
        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(best_fn=_rank, preservation_policy=policies.AnyPreservationPolicy(kept)) \
            if writing else ocp.CheckpointManagerOptions(read_only=True, create=False)
        self._manager = ocp.CheckpointManager(folder, item_names=('variables', 'optimizer', 'run'), options=options)

    def save(self, step: int, state: Any, run: dict[str, Any], metrics: dict[str, float]) -> None:
        """Save a step: `state` a dict with variables and optimizer, if any, `run` what JSON holds (config, vocabulary, position).

        Orbax does not notice flipped bits, so every leaf and the record itself carry a digest.
        """
        args = self._ocp.args
        self._check_space(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
        run = {**run, 'metrics': metrics, 'digests': {part: digest.digests(tree) for part, tree in state.items()}}
        run['digest'] = values.digest(run)
        parts = args.Composite(**{part: args.StandardSave(tree) for part, tree in state.items()}, run=args.JsonSave(run))
        try:
            saved = self._manager.save(step, args=parts, metrics=metrics or {'accuracy': -math.inf})
        except Exception as error:
            raise self._failed(error) from error
        if not saved:
            raise RuntimeError(f'checkpoint {step} was not saved: {self._manager.latest_step()} is there already')

    def _check_space(self, needed: int) -> None:
        """Refuse to begin what the disk cannot hold: Orbax would say so in a thousand lines."""
        if jax.process_index() == 0 and not workdirs.is_remote(self.folder):
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise self._failed(f'No space left on device ({free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB needed)')

    def _failed(self, why: Any) -> 'SaveFailed':
        # In a bucket a step that is being saved has its name already.
        steps = [file.name for file in self.folder.iterdir() if file.name.isdigit()
                 and (not workdirs.is_remote(file) or (file / 'commit_success.txt').exists())]
        last = f'step {max(map(int, steps))}' if steps else 'none'
        return SaveFailed(f'{self.folder}: saving failed: {" ".join(str(why).split())[-300:]}; last checkpoint: {last}')

    def latest(self) -> int | None:
        """The newest step, or None."""
        return self._manager.latest_step()

    def best(self) -> int:
        """The step to use: the best by accuracy, else the newest."""
        return max(self.steps(), key=lambda step: (_rank(self.metrics(step)), step))

    def steps(self) -> list[int]:
        """The steps that are there."""
        return sorted(self._manager.all_steps())

    def metrics(self, step: int) -> dict[str, float]:
        """What was measured at a step; nothing where that is damaged."""
        try:
            return self.run(step)['metrics']
        except Damaged:
            return {}

    def run(self, step: int) -> dict[str, Any]:
        """The JSON part of a step; `Damaged` where it is not what was saved."""
        record = self._read(step, 'run', self._ocp.args.JsonRestore())
        found = {name: value for name, value in record.items() if name != 'digest'}
        if 'digest' not in record or values.digest(found) != record['digest']:
            raise Damaged(step, 'run: config, vocabulary, position or metrics are not what was saved')
        return record

    def restore(self, step: int, part: str, layout: Any) -> Any:
        """Part `variables` or `optimizer` of a step, laid out as the abstract arrays of `layout` say; `Damaged` if it is."""
        digests = self.run(step)['digests']
        if part not in digests:
            raise ConfigError(f'{self.folder.parent} holds imported weights, which cannot be trained on; begin with them '
                              f'in another workdir: --config.init={self.folder.parent}')
        saved = digests[part]
        paths = {digest.name(path) for path, _ in jax.tree_util.tree_flatten_with_path(layout)[0]}
        if paths != set(saved):
            one = min(paths ^ set(saved))
            where = 'the recipe, not in the checkpoint' if one in paths else 'the checkpoint, not in the recipe'
            raise ConfigError(f'{self.folder}, step {step}: {part}/{one} is in {where}; another recipe wrote it')
        tree = self._read(step, part, self._ocp.args.StandardRestore(layout))
        wrong = [path for path, value in digest.digests(tree).items() if value != saved[path]]
        if wrong:
            raise Damaged(step, f'{part}/{wrong[0]}' + (f' and {len(wrong) - 1} more' if wrong[1:] else '') + ' changed on disk')
        return tree

    def _read(self, step: int, part: str, how: Any) -> Any:
        try:
            return self._manager.restore(step, args=self._ocp.args.Composite(**{part: how}))[part]
        except Exception as error:  # Orbax and TensorStore raise nearly anything for files that are cut or missing
            raise Damaged(step, f'{part}: {" ".join(str(error).split())[:300]}') from error

    def newest_sound(self, read: Callable[[int], Any], *, set_aside: bool = False) -> Any:
        """What `read` gives for the newest step that is not damaged, None without one; damage is said aloud."""
        return self.first_sound(sorted(self.steps(), reverse=True), read, set_aside=set_aside)

    def first_sound(self, steps: Sequence[int], read: Callable[[int], Any], *, set_aside: bool = False) -> Any:
        """What `read` gives for the first of the steps that is not damaged, None without one; damage is said aloud."""
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
        self._manager.reload()

    def close(self) -> None:
        """Finish saving: without this the last checkpoint would be lost in silence."""
        try:
            self._manager.close()
        except Exception as error:
            raise self._failed(error) from error


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding='utf-8'))
    except ValueError:
        return False
    return True


def _move_aside(step: Path, why: str = '') -> None:
    """Move a damaged step to the workdir's folder `damaged`."""
    if why:
        print(f'recog: {step.parent}: checkpoint {step.name} is damaged: {why}; trying an older step', file=sys.stderr)
    place = step.parents[1] / 'damaged'
    place.mkdir(exist_ok=True)
    step.rename(place / f'{step.name}-{time.time_ns()}')


def _rank(metrics: Any) -> float:
    accuracy = (metrics or {}).get('accuracy', -math.inf)
    return accuracy if math.isfinite(accuracy) else -math.inf


def exists(workdir: Path) -> bool:
    """Whether the folder holds a recog run."""
    return (workdir / 'config.json').is_file()


def record(config: ConfigDict, vocab: Vocab, position: int, rows: dict[str, int], sets: dict[str, int]) -> dict[str, Any]:
    """What a step says of its run: recipe, vocabulary, position, rows counted by what became of them, and sizes of sets."""
    return {'position': position, 'config': recipe.to_json(config), 'vocab': vocab.to_json(), 'vocab_hash': vocab.hash,
            'rows': rows, 'cpus': len(os.sched_getaffinity(0)), 'sets': sets}


def write_description(workdir: Path, config: ConfigDict, vocab: Vocab) -> None:
    """config.json and vocab.json beside the checkpoints, for people and for the next start."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / 'config.json').write_text(recipe.to_json(config) + '\n', encoding='utf-8')
    (workdir / 'vocab.json').write_text(vocab.to_json() + '\n', encoding='utf-8')


def compare(workdir: Path, config: ConfigDict, vocab: Vocab) -> list[str]:
    """What differs from the workdir's config, a line each; another experiment is refused."""
    old, new = values.flat(read_config(workdir)), values.flat(config)
    changes = [f'config.{name}: {old.get(name)!r} -> {new.get(name)!r}' for name in dict.fromkeys([*old, *new])
               if old.get(name) != new.get(name)]
    for change in changes:
        if change.removeprefix('config.').startswith(FIXED):
            raise ConfigError(f'--workdir {workdir} holds another experiment: {change}; choose another workdir')
    if Vocab.load(workdir / 'vocab.json').hash != vocab.hash:
        raise ConfigError(f'--workdir {workdir} holds another experiment: its vocabulary differs from that of '
                          f'config.text.charset={config.text.charset!r}; choose another workdir')
    return changes


def read_config(workdir: Path) -> ConfigDict:
    """The config of a workdir."""
    file = workdir / 'config.json'
    if not file.is_file():
        raise ConfigError(f'{workdir} is not a workdir of recog: it has no config.json'
                          if workdir.exists() else f'workdir {workdir} does not exist')
    return recipe.from_json(file.read_text(encoding='utf-8'))


def open(workdir: str | Path, step: int | None = None, mesh: Mesh | None = None) -> Opened:
    """A trained model from its workdir: the best step by the metric, else the newest, or the one asked for.

    The weights are the averaged ones where they are kept, the same on every device of the mesh (default: one device).
    Instead of a damaged step the newest sound one is used, and that is said aloud.
    """
    folder = workdirs.path(workdir)
    read_config(folder)
    checkpoints = Checkpoints(folder, writing=False) if (folder / FOLDER).is_dir() else None
    if checkpoints is None or not checkpoints.steps():
        raise ConfigError(f'{folder} holds no checkpoint yet')
    try:
        if step is not None and step not in checkpoints.steps():
            raise ConfigError(f'--step {step}: {folder} holds steps {", ".join(map(str, checkpoints.steps()))}')
        others = sorted(set(checkpoints.steps()) - {best := checkpoints.best()}, reverse=True)
        everywhere = replicated(mesh or one_device())
        opened = checkpoints.first_sound([best, *others] if step is None else [step],
                                         lambda step: _open_step(checkpoints, folder, step, everywhere))
    finally:
        checkpoints.close()
    if opened is None:
        raise ConfigError(f'{folder} holds no sound checkpoint'
                          + (f' of step {step}; others can be opened without --step' if step is not None else ''))
    return opened


def _open_step(checkpoints: Checkpoints, folder: Path, step: int, everywhere: NamedSharding) -> Opened:
    record = checkpoints.run(step)
    config, vocab = recipe.from_json(record['config']), Vocab.from_json(record['vocab'])
    if vocab.hash != record['vocab_hash']:
        raise ConfigError(f'{folder}, step {step}: the vocabulary is not the one the model was trained with')
    model = models.build(config, vocab)
    layout = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
                          abstract_variables(config, model))
    variables = checkpoints.restore(step, 'variables', layout)
    imported = record['imported'] if 'imported' in record else ''
    return Opened(folder, step, config, vocab, model, evaluated(variables), record['metrics'], imported)


def abstract_variables(config: ConfigDict, model: models.Model) -> dict[str, Any]:
    """Shapes of what the part `variables` of a checkpoint holds."""
    variables = dict(jax.eval_shape(model.init, jax.random.key(0)))
    return {**variables, 'ema': variables['params']} if config.train.ema else variables


def evaluated(variables: dict[str, Any]) -> models.Variables:
    """The variables that evaluation and prediction use: averaged weights where there are any."""
    return {'params': variables['ema' if 'ema' in variables else 'params'], 'stats': variables['stats']}
