"""A set of noise, in which something goes wrong where the options say so."""
import errno
import functools
import os
import resource
import signal
import sys
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow_datasets as tfds

from recog import prepare
from recog.errors import ConfigError


@functools.cache
def picture(number, side=12):
    noise = np.random.default_rng(number).integers(0, 256, (side, side + number % 30, 3), np.uint8)
    return cv2.imencode('.png', noise, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()

class Task(NamedTuple):
    number: int

class Toy(prepare.Builder):
    """Noise with words."""
    name = 'toy'
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='plain'), tfds.core.BuilderConfig(name='loud')]
    PLAIN = 'plain'
    EXPECTED = {'loud': {'test': 30, 'train': 59}}
    CHUNK = 8

    @classmethod
    def arguments(cls, parser):
        parser.add_argument('--count', type=int, default=90)
        parser.add_argument('--side', type=int, default=12)
        parser.add_argument('--accident', default='')

    def extra_features(self):
        return {'number': tfds.features.Scalar(np.int32)}

    def bytes_needed(self):
        return 1 << 60 if self.options['accident'] == 'huge' else 0

    def tasks(self):
        for number in range(self.options['count']):
            if number == 60 and self.options['accident'] == 'interrupt':
                os.kill(os.getpid(), signal.SIGINT)
            if number == 60 and self.options['accident'] == 'kill':
                os.kill(os.getpid(), signal.SIGKILL)
            yield 'test' if number % 3 == 2 else 'train', Task(number)
        yield '', prepare.Rejected('lost', 'belongs nowhere')
        yield 'train', prepare.Example('ready', 'Ready-made', picture(1), {'number': -1})

    def examples(self, task):
        number, accident = task.number, self.options['accident']
        if accident:
            (self.source.parent / 'workers').open('a').write(f'{os.getpid()}\n')
        if number == 50 and accident == 'worker':
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 50 and accident == 'bug':
            raise KeyError('a bug')
        if number == 50 and accident == 'disk':
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if number == 50 and accident == 'user':
            raise ConfigError('file 50 is not what it should be')
        if number == 7:
            yield prepare.Noted('7', 'unusual', 'seven')
        if number == 8:
            yield prepare.Rejected('8', 'too even', 'eight')
        elif number == 9:
            yield prepare.Example('9', 'nine', b'no image', {'number': 9})
        elif number == 10:
            yield prepare.Example('broken\udcff', 'ten', picture(10), {'number': 10})
        else:
            name = '11' if number == 20 and accident == 'twice' else str(number)
            yield prepare.Example(name, f'Wört {number % 40}', picture(number % 100, self.options['side']),
                                  {'number': number})

if __name__ == '__main__':
    if 'limit' in sys.argv:
        sys.argv.remove('limit')
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    status = prepare.main(Toy)
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print('memory', max(used) // 1024)
    sys.exit(status)
