"""MLflow as a logger; its own environment variables say where: MLFLOW_TRACKING_URI and
MLFLOW_EXPERIMENT_NAME."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from ml_collections import ConfigDict
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from recog.config import recipe
from recog.config import values as config_values
from recog.train.loggers.examples import COLUMNS, Example, row
from recog.train.loggers.opened import Best
from recog.workdir import files

ERRORS = (MlflowException, OSError, ImportError)
STATES = {'finished': 'FINISHED', 'stopped': 'KILLED', 'failed': 'FAILED'}
LONGEST, AT_ONCE = 500, 100  # letters of a parameter, and parameters of a request, that any server takes


class Mlflow:
    """A run of MLflow, with the machine's load as metrics `system/...`."""

    def __init__(self, client: mlflow.MlflowClient, run: str, address: str):
        self._client, self._run = client, run
        self._machine = SystemMetricsMonitor(run, resume_logging=True, tracking_uri=address)
        self._machine.start()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics)

    def show(self, step: int, table: str, shown: Sequence[Example]) -> None:
        """Add images and what was read of them to the table of their set."""
        columns = {'step': [step] * len(shown), COLUMNS[0]: [mlflow.Image(each.image) for each in shown]}
        columns |= {name: list(column) for name, column in
                    zip(COLUMNS[1:], zip(*map(row, shown), strict=True), strict=False)}
        self._client.log_table(self._run, columns, f'{table.replace(":", "-")}.json')

    def report(self, figures: Mapping[str, float], best: Best) -> None:
        """Write what was measured at the end, and keep the best checkpoint among the artifacts."""
        self.write(best.step, figures)
        for name, file in best.files.items():
            self._client.log_artifact(self._run, str(file), str(Path('best') / Path(name).parent))
        self._client.log_artifacts(self._run, str(best.folder), f'best/{best.place}')
        self._client.set_tag(self._run, 'best step', str(best.step))

    def close(self, ended: str) -> None:
        """Finish the run."""
        self._machine.finish()
        self._client.set_terminated(self._run, STATES[ended])


def start(config: ConfigDict, workdir: Any, known: Mapping[str, str] | None) -> tuple[Mlflow, dict]:
    """A new run, or the one that is known, and what makes it known."""
    import pandas  # noqa: F401  # which tables need
    import psutil  # noqa: F401  # which the figures of the machine need

    # A table that grows is fetched at each evaluation, each time with a bar.
    os.environ.setdefault('MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR', 'false')
    address = known['address'] if known else mlflow.get_tracking_uri()
    client = mlflow.MlflowClient(address)
    if known:
        run = client.get_run(known['run'])
        client.update_run(run.info.run_id, status='RUNNING')
    else:
        run = client.create_run(_experiment(client), run_name=Path(str(workdir)).name)
    given = run.data.params  # these cannot change: the recipe as it is now is an artifact
    params = [Param(name, repr(value)[:LONGEST]) for name, value in config_values.flat(config).items()
              if name not in given]
    for first in range(0, len(params), AT_ONCE):
        client.log_batch(run.info.run_id, params=params[first:first + AT_ONCE])
    client.log_text(run.info.run_id, recipe.to_json(config), files.CONFIG)
    return Mlflow(client, run.info.run_id, address), {'run': run.info.run_id, 'address': address}


def _experiment(client: mlflow.MlflowClient) -> str:
    """The experiment that the environment names, made where it is not there."""
    name = os.environ.get('MLFLOW_EXPERIMENT_NAME', 'recog')
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)
