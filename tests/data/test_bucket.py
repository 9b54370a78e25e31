"""Sets in a bucket: read as local ones, fetched once, verified, and kept within a bound."""

import fcntl

import fsspec
import numpy as np
import pytest
import toyset
from small import DEMO

from recog.buckets import LIBRARIES
from recog.commands import command_line
from recog.config import experiments
from recog.data import bucket, cache, file_hashes
from recog.data.batches import Batches
from recog.data.fingerprint import fingerprint
from recog.data.joined import joined
from recog.data.plan import Plan
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.text import vocabulary

ROOT = 'memory://data'
LABELS = [('a.png', 'one'), ('b.png', 'two'), ('c.png', 'three'), ('d.png', 'four')]
NARROW = '--config.image.width=48'


@pytest.fixture
def files(monkeypatch):
    """A bucket in memory, and the names of the files that were fetched from it."""
    monkeypatch.setitem(LIBRARIES, 'memory', 'fsspec')
    memory, fetched = fsspec.filesystem('memory'), []
    memory.store.clear()
    plain = type(memory).get_file

    def get_file(self, remote, local, **options):
        fetched.append(remote.rpartition('/')[2])
        return plain(self, remote, local, **options)

    monkeypatch.setattr(type(memory), 'get_file', get_file)
    memory.fetched = fetched
    yield memory
    memory.store.clear()
    another_process()


def another_process():
    """Forget what this process has opened, and let go of it."""
    for opened in bucket._OPEN.values():
        opened._cache._lock.close()
    bucket._OPEN.clear()
    bucket._FOUND.clear()


def put(files, root, *names):
    """Copy sets to the bucket."""
    for name in names:
        for file in (root / name).rglob('*'):
            if file.is_file():
                files.pipe_file(f'/data/{file.relative_to(root)}', file.read_bytes())


def batches(config, name, root):
    opened = joined([open_set(name, config, root)])
    plan = Plan([len(opened)], (), 4, 'shuffle', 0)
    return Batches(opened, plan, np.arange, vocabulary.from_config(config.text), config, 100)


def test_a_set_in_a_bucket_gives_what_the_local_one_gives_and_is_fetched_once(files, folder, tmp_path):
    root, config = folder('words', LABELS), experiments.load(DEMO, [NARROW])
    (tmp_path / 'source').write_text('')
    toyset.Toy(source=tmp_path / 'source', data_dir=root, config='plain', workers=1, name='',
               options={'count': 90, 'side': 12, 'accident': ''}).prepare()
    assert command_line.main(['pack', 'words', '--config', DEMO, NARROW, '--data', str(root), '--name',
                              'packed', '--workers', '1']) == 0
    put(files, root, 'words', 'packed', 'toy')
    for name in ('words', 'packed', 'toy:train'):
        here, there = (batches(config, name, place) for place in (root, ROOT))
        for step in range(3):
            want, got = here[step], there[step]
            assert want.keys() == got.keys() and all((want[key] == got[key]).all() for key in want)
        source = there.source.sources[0]
        assert fingerprint(source, config, ROOT) == fingerprint(source, config, root)
    assert not any('-test.' in name for name in files.fetched)  # the other split stays where it is
    before = len(files.fetched)
    another_process()
    assert len(batches(config, 'words', ROOT).source) == 4 and len(files.fetched) == before
    files.pipe_file('/data/words/a.png', (root / 'words' / 'b.png').read_bytes())
    another_process()
    one, two = open_set('words', config, ROOT).rows([0, 1])
    assert (one.image == two.image).all() and files.fetched[before:] == ['a.png']


def test_a_file_with_other_content_than_recorded_is_not_kept(files, folder):
    root = folder('words', LABELS)
    file_hashes.seal(root / 'words')
    put(files, root, 'words')
    content = (root / 'words' / 'a.png').read_bytes()
    files.pipe_file('/data/words/a.png', content[:-1] + b'x')
    with pytest.raises(ConfigError, match=f'{ROOT}/words/a.png has other content than files.json records'):
        open_set('words', None, ROOT)
    assert files.fetched.count('a.png') == bucket.TRIES
    another_process()
    files.pipe_file('/data/words/a.png', content[:-1])
    with pytest.raises(ConfigError, match='words/a.png has .* bytes instead of'):
        open_set('words', None, ROOT)
    files.rm('/data/words/a.png')
    with pytest.raises(ConfigError, match='words/a.png is missing'):
        open_set('words', None, ROOT)


def test_sets_that_nobody_reads_make_room_the_least_recently_used_first(files, folder, monkeypatch):
    for name in 'abc':
        root = folder(name, LABELS)
    put(files, root, 'a', 'b', 'c')
    size = sum(each['size'] for each in files.find('/data/a', detail=True).values())
    monkeypatch.setenv(cache.MOST, str(2.5 * size / 1e9))
    for name in 'aba':
        another_process()
        open_set(name, None, ROOT)
    before = len(files.fetched)
    with (cache.place() / f'{bucket.set_folder("a", "", ROOT).name}.lock').open() as held:
        another_process()
        fcntl.flock(held, fcntl.LOCK_SH)
        open_set('c', None, ROOT)  # b goes: a was used later
        assert len(list(cache.place().glob('*.lock'))) == 2 and len(files.fetched) == before + 5
        with pytest.raises(ConfigError, match=f'{ROOT}/b needs .* GB more in .* in use of .* GB'):
            open_set('b', None, ROOT)  # a and c are read


@pytest.mark.parametrize(('root', 'name', 'most', 'message'), [
    ('ftp://data', 'words', '1', r'--data ftp://data: ftp:// must be one of gs://, s3://'),
    ('none://data', 'words', '1', '--data none://data needs no_such_library: pip install no_such_library'),
    (ROOT, 'word:train', '1', r"set 'word:train' is not there below .*did you mean 'words'.* are: words"),
    (ROOT, 'words', 'many', "RECOG_DATA_CACHE_GB='many' must be a number above 0"),
    (ROOT, 'words', '1e-9', 'words needs .* GB more'),
])
def test_a_mistake_is_one_line_and_nothing_is_fetched(files, folder, monkeypatch, root, name, most, message):
    monkeypatch.setitem(LIBRARIES, 'none', 'no_such_library')
    monkeypatch.setenv(cache.MOST, most)
    put(files, folder('words', LABELS), 'words')
    with pytest.raises(ConfigError, match=message) as refused:
        open_set(name, experiments.load(DEMO), root)
    assert '\n' not in str(refused.value) and not files.fetched


def test_a_bucket_that_does_not_answer_is_one_line(files, monkeypatch):
    monkeypatch.setattr(type(files), 'find', lambda *_, **__: 1 / 0)
    with pytest.raises(ConfigError, match=f'--data {ROOT} cannot be read: division by zero'):
        open_set('words', None, ROOT)


def test_what_writes_below_the_root_wants_a_disk(capsys):
    assert command_line.main(['pack', 'words', '--config', DEMO, '--data', 'gs://data']) == 2
    assert '--data gs://data must be a local folder' in capsys.readouterr().err
