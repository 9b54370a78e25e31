"""The launchers of deploy/: their `recog` commands are understood, and a container ends as its run does."""

import os
import re
import shlex
import signal
import subprocess
import time

import pytest
import yaml
from small import ROOT

from recog.commands import command_line

DEPLOY = ROOT / 'deploy'
# What takes a second to save once a signal comes, as a training does.
FAKE = '''#!/usr/bin/env python3
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[-1], 'stopped').touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[-1], 'here').touch()
if sys.argv[1] == 'train': time.sleep(60)
sys.exit(3)
'''


def commands():
    """The arguments of `recog` in the launchers."""
    task = yaml.safe_load((DEPLOY / 'skypilot.yaml').read_text())
    line = re.sub(r'\$\(.*?\)', 'host', task['run'].replace('\\\n', ' '))
    for name, value in {**task['envs'], 'SKYPILOT_NUM_NODES': '1', 'SKYPILOT_NODE_RANK': '0'}.items():
        line = line.replace(f'${name}', value)
    yield shlex.split(line)[1:]
    jobset = yaml.safe_load((DEPLOY / 'gke.yaml').read_text())
    pod = jobset['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']
    yield [word.replace('$(JOB_COMPLETION_INDEX)', '1') for word in pod['containers'][0]['args']]


def test_the_commands_are_understood(monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in commands():
        given, rest = command_line.parser().parse_known_args(words)
        assert given.command == 'train' and not rest
        assert given.coordinator.endswith(':1234') and 0 <= given.process < given.processes


def test_what_the_image_copies_is_there():
    copied = re.findall(r'^COPY (.+) \S+$', (DEPLOY / 'Dockerfile').read_text(), re.M)
    kept = re.findall(r'^!(.+)$', (DEPLOY / 'Dockerfile.dockerignore').read_text(), re.M)
    files = [file for line in copied for file in line.split()]
    assert sorted(files) == sorted(kept) and all((ROOT / file).exists() for file in files)


@pytest.fixture
def started(tmp_path):
    """Starts the container's first process with a `recog` that does as it is told."""
    fake = tmp_path / 'recog'
    fake.write_text(FAKE)
    fake.chmod(0o755)
    environment = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    return lambda *words: subprocess.Popen(['sh', DEPLOY / 'container.sh', *map(str, words)], env=environment)


def test_a_container_passes_signals_on_and_says_that_its_run_is_not_done(started, tmp_path):
    process = started('train', '--workdir', tmp_path)
    while not (tmp_path / 'here').exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 75 and (tmp_path / 'stopped').exists()
    assert started('predict', tmp_path).wait(20) == 3
