"""Weights & Biases as a logger; its own environment variables say where and how: WANDB_PROJECT, WANDB_ENTITY,
WANDB_MODE, WANDB_DIR."""

import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from ml_collections import ConfigDict

from recog.config import values as config_values
from recog.train.loggers.examples import COLUMNS, Example, row
from recog.train.loggers.opened import Best
from recog.workdir.folder import is_remote

ERRORS = (wandb.errors.Error, OSError)
STEP = 'step'  # the axis of all charts: its own count of steps never goes back, and a resumed run may


class WeightsAndBiases:
    """A run of Weights & Biases, which records the machine's load by itself."""

    def __init__(self, run: Any, name: str):
        self._run, self._name = run, name
        run.define_metric('*', step_metric=STEP)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        self._run.log({STEP: step, **values})

    def show(self, step: int, table: str, shown: Sequence[Example]) -> None:
        """Write a table of images and what was read of them."""
        lines = [[wandb.Image(each.image), *row(each)] for each in shown]
        self._run.log({STEP: step, table: wandb.Table(columns=list(COLUMNS), data=lines)})

    def report(self, figures: Mapping[str, float], best: Best) -> None:
        """Write what was measured at the end, and keep the best checkpoint as an artifact."""
        self._run.summary.update(dict(figures))
        artifact = wandb.Artifact(self._name, type='model', metadata={STEP: best.step})
        for name, file in best.files.items():
            artifact.add_file(str(file), name=name)
        artifact.add_dir(str(best.folder), name=best.place)
        self._run.log_artifact(artifact, aliases=['best', f'step-{best.step}'])

    def close(self, ended: str) -> None:
        """Finish the run."""
        if ended == 'stopped':
            self._run.mark_preempting()
        self._run.finish(exit_code=int(ended == 'failed'))


def start(config: ConfigDict, workdir: Any, known: Mapping[str, str] | None) -> tuple[WeightsAndBiases, dict]:
    """A new run, or the one that is known, and what makes it known."""
    name = Path(str(workdir)).name
    place = known or {'id': uuid.uuid4().hex[:8], 'project': os.environ.get('WANDB_PROJECT', 'recog'),
                      'entity': os.environ.get('WANDB_ENTITY', '')}
    folder = None if is_remote(workdir) or 'WANDB_DIR' in os.environ else str(workdir)
    run = wandb.init(id=place['id'], project=place['project'], entity=place['entity'] or None, resume='allow',
                     name=name, dir=folder, settings=wandb.Settings(console='off'))
    run.config.update({key: list(value) if isinstance(value, tuple) else value
                       for key, value in config_values.flat(config).items()}, allow_val_change=True)
    return WeightsAndBiases(run, f'model-{re.sub(r"[^a-zA-Z0-9_.-]", "-", name)}'), dict(place)
