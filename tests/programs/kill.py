"""Kills training at random moments, in the middle of saves too, and resumes it,
until the given number of rounds is done.

    python tests/programs/kill.py --rounds 50

Each run that gets to its end must equal the undisturbed one bit for bit.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
from runs import differences
from small import DEMO, NARROW, ROOT, on

STEPS = 24
RECIPE = [*NARROW, f'--config.train.length={STEPS} steps', '--config.checkpoint.every=3 steps',
          '--config.eval.every=6 steps',
          '--config.schedule.name=constant', '--config.schedule.warmup=0 steps',
          '--config.data.order=shuffle',
          '--config.render.count=200', '--config.eval.report=words', '--config.image.augment.noise=10.0',
          '--config.train.ema=0.9', '--config.optimizer.decay=0.01', '--config.log.every=4']


def words(folder):
    """A small set to measure at the end of a run."""
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / 'word.png'), np.full((20, 60, 3), 200, np.uint8))
    (folder / 'labels.tsv').write_text('word.png\tword\n')


def start(workdir, *extra):
    """Training in a process of its own, with one device."""
    environment = {**os.environ, 'XLA_FLAGS': on(1),
                   'RECOG_CACHE': str(Path(tempfile.gettempdir()) / 'recog-kill-cache'),
                   'PYTHONUNBUFFERED': '1'}
    line = [sys.executable, '-m', 'recog', 'train', '--config', DEMO, '--workdir', str(workdir), '--data',
            str(workdir.parent / 'data'), *RECIPE, *extra]
    return subprocess.Popen(line, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def kill_once(workdir, dice):
    """Start or resume a run, then kill it in the middle of a save or at a random moment;
    returns which of the two, or '' if the run ended before."""
    process, checkpoints = start(workdir), workdir / 'checkpoints'

    def saving():
        return any(checkpoints.glob('*.orbax-checkpoint-tmp'))

    def wait(until):
        while process.poll() is None and not until():
            time.sleep(0.001)

    # From here on leftovers of the last kill are cleared, and the metrics end at the checkpoint.
    said = next((line for line in process.stdout if 'starting at step' in line), '')
    latest = max((int(step.name) for step in checkpoints.glob('[0-9]*') if step.name.isdigit()), default=0)
    if dice.random() < 0.5:
        wait(saving)
        time.sleep(dice.uniform(0, 0.1))
    else:
        wait(lambda: last_step(workdir / 'metrics.jsonl') > latest)
        time.sleep(dice.uniform(0, 1.5))
    kind = 'in a save' if saving() else 'between saves'
    process.send_signal(signal.SIGKILL)
    said += process.communicate()[0]
    if process.returncode == 0:
        return ''
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(said)
    return kind


def last_step(file):
    """The step of the last whole line of a run's metrics, 0 without one."""
    lines = [line for line in (file.read_text() if file.is_file() else '').split('\n')[:-1] if line]
    return json.loads(lines[-1])['step'] if lines else 0


def finish(workdir):
    """Let a run finish."""
    process = start(workdir)
    said = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(said)


def rounds(count, folder, whole, seed=0, say=print):
    """Kill a run `count` times; returns how often a run came to its end, equal to `whole`,
    and the kinds of kills."""
    dice, kinds, ends, workdir = random.Random(seed), {'in a save': 0,
                                                       'between saves': 0}, 0, folder / 'killed'
    words(folder / 'data' / 'words')
    while sum(kinds.values()) < count:
        kind = kill_once(workdir, dice)
        if kind:
            kinds[kind] += 1
            say(f'round {sum(kinds.values())} of {count}: killed {kind}')
        if not kind or sum(kinds.values()) == count:
            if kind:
                finish(workdir)
            found = differences(whole, workdir, STEPS)
            if found:
                raise RuntimeError(f'after {sum(kinds.values())} kills the run differs in {", ".join(found)}')
            ends += 1
            shutil.rmtree(workdir)
            say(f'run {ends} came to its end, equal bit for bit')
    return ends, kinds


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        begun, undisturbed = time.monotonic(), Path(place) / 'whole' / 'run'
        words(undisturbed.parent / 'data' / 'words')
        finish(undisturbed)
        ended, kills = rounds(arguments.rounds, Path(place), undisturbed, arguments.seed)
        print(f'{sum(kills.values())} kills '
              f'({", ".join(f"{number} {kind}" for kind, number in kills.items())}), '
              f'{ended} runs ended, all equal bit for bit, in {time.monotonic() - begun:.0f} s')
