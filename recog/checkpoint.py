"""Checkpoints: variables, optimizer, data position, config, vocabulary and metrics of a step, together or not at all (Orbax)."""

import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import config as configs
from recog import models, sharding
from recog.text import Vocab

FOLDER = 'checkpoints'
# Fields that make a workdir what it is: a run that differs in one of them is another experiment.
FIXED = ('model', 'text', 'image', 'optimizer.name')


class Opened(NamedTuple):
    """A trained model, from nothing but its workdir."""

    workdir: Path
    step: int
    config: ConfigDict
    vocab: Vocab
    model: models.Model
    variables: models.Variables
    metrics: dict[str, float]


class Checkpoints:
    """The checkpoints of a workdir; saving goes on in the background until `close`."""

    def __init__(self, workdir: Path, keep: int = 1, *, writing: bool = True):
        import orbax.checkpoint as ocp

        folder = workdir.resolve() / FOLDER
        if writing and jax.process_index() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob('*.orbax-checkpoint-tmp'):  # Orbax ignores those of a killed save for ever
                shutil.rmtree(leftover)
        policies = ocp.checkpoint_managers
        # max_to_keep with best_fn would delete the newest if it ranks low.
        kept = [policies.LatestN(1)] + ([policies.BestN(get_metric_fn=_rank, n=keep)] if keep else [])
        self._ocp = ocp
        self._manager = ocp.CheckpointManager(
            folder, item_names=('variables', 'optimizer', 'run'),
            options=ocp.CheckpointManagerOptions(best_fn=_rank, preservation_policy=policies.AnyPreservationPolicy(kept),
                                                 read_only=not writing, create=writing))

    def save(self, step: int, state: Any, run: dict[str, Any], metrics: dict[str, float]) -> None:
        """Save a step: `state` a dict with variables and optimizer, `run` what JSON holds (config, vocabulary, position)."""
        args = self._ocp.args
        parts = args.Composite(variables=args.StandardSave(state['variables']), optimizer=args.StandardSave(state['optimizer']),
                               run=args.JsonSave(run))
        if not self._manager.save(step, args=parts, metrics=metrics or {'accuracy': -math.inf}):
            raise RuntimeError(f'checkpoint {step} was not saved: {self._manager.latest_step()} is there already')

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
        """What was measured at a step."""
        return self._manager.metrics(step) or {}

    def run(self, step: int) -> dict[str, Any]:
        """The JSON part of a step."""
        return self._manager.restore(step, args=self._ocp.args.Composite(run=self._ocp.args.JsonRestore()))['run']

    def restore(self, step: int, part: str, layout: Any) -> Any:
        """Part `variables` or `optimizer` of a step, laid out as the abstract arrays of `layout` say."""
        args = self._ocp.args
        return self._manager.restore(step, args=args.Composite(**{part: args.StandardRestore(layout)}))[part]

    def wait(self) -> None:
        """Return when what was saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish saving: without this the last checkpoint would be lost in silence."""
        self._manager.close()


def _rank(metrics: Any) -> float:
    accuracy = (metrics or {}).get('accuracy', -math.inf)
    return accuracy if math.isfinite(accuracy) else -math.inf


def exists(workdir: Path) -> bool:
    """Whether the folder holds a recog run."""
    return (workdir / 'config.json').is_file()


def write_description(workdir: Path, config: ConfigDict, vocab: Vocab) -> None:
    """config.json and vocab.json beside the checkpoints, for people and for the next start."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / 'config.json').write_text(configs.to_json(config) + '\n', encoding='utf-8')
    vocab.save(workdir / 'vocab.json')


def compare(workdir: Path, config: ConfigDict, vocab: Vocab) -> list[str]:
    """What differs from the workdir's config, a line each; another experiment is refused."""
    old, new = configs.flat(read_config(workdir)), configs.flat(config)
    changes = [f'config.{name}: {old.get(name)!r} -> {new.get(name)!r}' for name in dict.fromkeys([*old, *new])
               if old.get(name) != new.get(name)]
    for change in changes:
        if change.removeprefix('config.').startswith(FIXED):
            raise configs.ConfigError(f'--workdir {workdir} holds another experiment: {change}; choose another workdir')
    if Vocab.load(workdir / 'vocab.json').hash != vocab.hash:
        raise configs.ConfigError(f'--workdir {workdir} holds another experiment: its vocabulary differs from that of '
                                  f'config.text.charset={config.text.charset!r}; choose another workdir')
    return changes


def read_config(workdir: Path) -> ConfigDict:
    """The config of a workdir."""
    file = workdir / 'config.json'
    if not file.is_file():
        raise configs.ConfigError(f'{workdir} is not a workdir of recog: it has no config.json'
                                  if workdir.exists() else f'workdir {workdir} does not exist')
    return configs.from_json(file.read_text(encoding='utf-8'))


def open(workdir: str | Path, step: int | None = None, mesh: Mesh | None = None) -> Opened:
    """A trained model from its workdir: the best step by the metric, else the newest, or the one asked for.

    The weights are the averaged ones where they are kept, the same on every device of the mesh (default: one device).
    """
    folder = Path(workdir)
    read_config(folder)
    checkpoints = Checkpoints(folder, writing=False) if (folder / FOLDER).is_dir() else None
    if checkpoints is None or not checkpoints.steps():
        raise configs.ConfigError(f'{folder} holds no checkpoint yet')
    try:
        if step is not None and step not in checkpoints.steps():
            raise configs.ConfigError(f'--step {step}: {folder} holds steps {", ".join(map(str, checkpoints.steps()))}')
        chosen = checkpoints.best() if step is None else step
        run = checkpoints.run(chosen)
        config, vocab = configs.from_json(run['config']), Vocab.from_json(run['vocab'])
        if vocab.hash != run['vocab_hash']:
            raise configs.ConfigError(f'{folder}, step {chosen}: the vocabulary is not the one the model was trained with')
        model = models.build(config, vocab)
        everywhere = sharding.replicated(mesh or sharding.one_device())
        layout = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
                              abstract_variables(config, model))
        variables = checkpoints.restore(chosen, 'variables', layout)
        metrics = checkpoints.metrics(chosen)
    finally:
        checkpoints.close()
    return Opened(folder, chosen, config, vocab, model, evaluated(variables), metrics)


def abstract_variables(config: ConfigDict, model: models.Model) -> dict[str, Any]:
    """Shapes of what the part `variables` of a checkpoint holds."""
    variables = dict(jax.eval_shape(model.init, jax.random.key(0)))
    return {**variables, 'ema': variables['params']} if config.train.ema else variables


def evaluated(variables: dict[str, Any]) -> models.Variables:
    """The variables that evaluation and prediction use: averaged weights where there are any."""
    return {'params': variables['ema' if 'ema' in variables else 'params'], 'stats': variables['stats']}
