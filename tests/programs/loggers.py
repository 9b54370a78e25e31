"""Checks a training that logs to Weights & Biases (offline) and MLflow (a local database): it is stopped and
gone on with, and what both have of it is read back.

    pip install -e '.[wandb,mlflow]' && python tests/programs/loggers.py
"""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from small import DEMO, NARROW, ROOT, prepared

STEPS = 40
TABLE = 'words/predictions/path'  # in the history of Weights & Biases
WORDS = [(f'{number}.png', f'word{number}') for number in range(5)]
RECIPE = (*NARROW, '--config.log.to=wandb,mlflow', '--config.data.train=words', '--config.eval.sets=words',
          '--config.eval.report=words', '--config.train.batch=4', f'--config.train.length={STEPS} steps',
          '--config.eval.every=10 steps', '--config.checkpoint.every=10 steps')


def check(what, holds):
    """Say what was checked; end where it does not hold."""
    print('ok' if holds else 'WRONG', what, flush=True)
    if not holds:
        sys.exit(1)


def train(place):
    """Start training, or go on, in a process of its own."""
    environment = {
        **os.environ, 'PYTHONUNBUFFERED': '1', 'PYTHONPATH': str(ROOT),
        'WANDB_MODE': 'offline', 'WANDB_X_STATS_SAMPLING_INTERVAL': '1',
        'WANDB_DATA_DIR': str(place / 'staged'),
        'MLFLOW_TRACKING_URI': f'sqlite:///{place}/mlflow.db', 'MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL': '1',
        'XLA_FLAGS': '--xla_force_host_platform_device_count=1', 'MLFLOW_DISABLE_TELEMETRY': 'true',
    }
    line = [sys.executable, '-m', 'recog', 'train', '--config', DEMO, '--workdir', str(place / 'run'),
            '--data', str(place / 'data'), *RECIPE]
    return subprocess.Popen(line, cwd=place, env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def stopped_and_resumed(place):
    """A training that a signal stops, and the same line once more."""
    process = train(place)
    for line in process.stdout:
        if 'step 15/' in line:
            process.send_signal(signal.SIGTERM)
    if process.wait():
        raise RuntimeError('the training failed before it was stopped')
    said = train(place).communicate(timeout=300)[0]
    log = [json.loads(line) for line in (place / 'run' / 'metrics.jsonl').read_text().splitlines()]
    check('the training was stopped, and went on to its end', 'starting at step 1' in said
          and 'results in' in said and log[-1]['step'] == STEPS)


def records(file):
    """The records of a .wandb file: a log in LevelDB's format of messages that the package defines."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = file.read_bytes(), 7, b''
    while place + 7 <= len(content):
        if 32_768 - place % 32_768 < 7:  # a block ends in zeros where no head fits
            place += 32_768 - place % 32_768
            continue
        _, size, kind = struct.unpack('<IHB', content[place:place + 7])
        parts += content[place + 7:place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b''


def item(each):
    """Name and value of an item of a record."""
    return each.key or '/'.join(each.nested_key), json.loads(each.value_json or 'null')


def weights_and_biases(place):
    """Both pieces are the same run; history, config, table, artifact and the machine's load are there."""
    import recog

    files = sorted((place / 'run' / 'wandb').glob('offline-run-*/*.wandb'))
    pieces = [list(records(file)) for file in files]
    every = [each for piece in pieces for each in piece]
    ids = {each.run.run_id for each in every if each.HasField('run')}
    known = json.loads((place / 'run' / 'loggers.json').read_text())['wandb']['id']
    check('wandb: two pieces of one run', len(files) == 2 and ids == {known})
    history = [dict(map(item, each.history.item)) for each in every if each.HasField('history')]
    steps = [line['step'] for line in history if 'loss' in line]
    check('wandb: every step once, the axis is step', steps == list(range(1, STEPS + 1)))
    config = dict(item(each) for record in every for source in (record.run.config, record.config)
                  for each in source.update)
    check('wandb: the recipe', config['train.batch'] == 4 and config['log.to'] == ['wandb', 'mlflow'])
    check('wandb: the load of the machine', any(each.HasField('stats') for each in every))
    tables = [{entry.path: Path(entry.local_path) for entry in entries(each.artifact)} for each in every
              if each.artifact.type == 'run_table']
    table = json.loads(tables[-1]['words/predictions.table.json'].read_text())
    check('wandb: a table at each evaluation',
          len(tables) == STEPS // 10 == sum(TABLE in line for line in history))
    check('wandb: its texts', [line[1] for line in table['data']] == [text for _, text in WORDS])
    images = [tables[-1][line[0]['path']].read_bytes() for line in table['data']]
    check('wandb: its images', all(image[1:4] == b'PNG' for image in images))
    summary = dict(item(each) for record in every for each in record.summary.update)
    check('wandb: what was measured at the end', 'reported/words/accuracy' in summary)
    model, = (each.artifact for each in every if each.artifact.type == 'model')
    check('wandb: the artifact is the best checkpoint', 'best' in model.aliases)
    for entry in entries(model):
        file = place / 'artifact' / entry.path
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(entry.local_path, file)
    check('wandb: recog opens the artifact', recog.load(place / 'artifact')(str(picture(place))) is not None)


def entries(artifact):
    """The files of an artifact, whose list may stand in a file of its own."""
    from google.protobuf import json_format
    from wandb.proto.wandb_internal_pb2 import ArtifactManifest

    if artifact.manifest.contents:
        return artifact.manifest.contents
    manifest = ArtifactManifest()
    for line in Path(artifact.manifest.manifest_file_path).read_text().splitlines():
        json_format.Parse(line, manifest.contents.add(), ignore_unknown_fields=True)
    return manifest.contents


def mlflow(place):
    """One run, with all steps, the recipe, tables with images, the machine's load, and the artifact."""
    import mlflow

    import recog

    os.environ['MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR'] = 'false'
    mlflow.set_tracking_uri(f'sqlite:///{place}/mlflow.db')
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name('recog').experiment_id
    runs = client.search_runs([experiment])
    check('mlflow: one run, finished', [run.info.status for run in runs] == ['FINISHED'])
    run = runs[0]
    history = client.get_metric_history(run.info.run_id, 'loss')
    check('mlflow: every step once', sorted(each.step for each in history) == list(range(1, STEPS + 1)))
    check('mlflow: the recipe', run.data.params['train.batch'] == '4')
    check('mlflow: what was measured at the end', 'reported/words/accuracy' in run.data.metrics)
    check('mlflow: the load of the machine', any(name.startswith('system/') for name in run.data.metrics))
    table = client.load_table(experiment, 'words/predictions.json', [run.info.run_id])
    check('mlflow: a table of images and texts', list(table['truth']) == [text for _, text in WORDS] * 4
          and list(table['step'])[::len(WORDS)] == [10, 20, 30, 40])
    images = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(place / 'images'),
                                                 artifact_path=table['image'][0]['filepath'])
    check('mlflow: its images', Path(images).read_bytes()[1:4] == b'PNG')
    best = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path='best',
                                               dst_path=str(place / 'downloaded'))
    check('mlflow: recog opens the artifact', recog.load(best)(str(picture(place))) is not None)


def picture(place):
    """The first word."""
    return place / 'data' / 'words' / WORDS[0][0]


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        prepared(place, 'words', WORDS)
        stopped_and_resumed(place)
        weights_and_biases(place)
        mlflow(place)
        print('loggers have all of a run')
