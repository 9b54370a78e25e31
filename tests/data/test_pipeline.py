"""Processes that read batches, and what is left of them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import DEMO, NARROW, ROOT

READER = f'''
import multiprocessing, os
import numpy as np
from recog.config import experiments
from recog.data.batches import Batches
from recog.data.joined import joined
from recog.data.pipeline import read_batches
from recog.data.plan import Plan
from recog.data.sets import open_set
from recog.text import vocabulary

if __name__ == '__main__':
    config = experiments.load({DEMO!r}, {[*NARROW, '--config.data.workers=1', '--config.render.count=64']!r})
    source = joined([open_set('rendered:train', config, '.')])
    batches = read_batches(Batches(source, Plan([64], (), 16, 'file', 0), np.arange,
                                   vocabulary.from_config(config.text), config, 1000), config)
    next(batches)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    while True:
        next(batches)
'''
SHARED = Path('/dev/shm')


@pytest.mark.skipif(not SHARED.is_dir(), reason='shared memory is not seen as files here')
def test_workers_and_shared_memory_end_with_a_parent_that_is_killed(tmp_path):
    before = {file.name for file in SHARED.glob('psm_*')}
    (tmp_path / 'reader.py').write_text(READER)
    reader = subprocess.Popen([sys.executable, 'reader.py'], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    workers = [int(number) for number in reader.stdout.readline().split()]
    assert workers
    made = {file.name for file in SHARED.glob('psm_*')} - before
    reader.kill()
    reader.wait()
    reader.stdout.close()

    def left():
        return [each for each in workers if Path(f'/proc/{each}').exists()], \
            made & {file.name for file in SHARED.glob('psm_*')}

    until = time.monotonic() + 20
    while any(left()) and time.monotonic() < until:
        time.sleep(0.05)
    assert made and left() == ([], set())
