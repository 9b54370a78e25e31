"""LMDB's files: what LMDB writes is read the same, and no bytes do more than be refused."""

import random

import lmdb
import pytest

from recog.prepare.btree import Damaged, Database


def written(folder, count, seed=0):
    """An LMDB that grew, shrank and grew, and what is in it."""
    dice, kept = random.Random(seed), {}
    with lmdb.open(str(folder), map_size=1 << 27) as environment:
        for _ in range(3):
            with environment.begin(write=True) as writing:
                for _ in range(count):
                    number = dice.randrange(10 * count)
                    key = f'image-{number:09d}'.encode() if number % 4 else dice.randbytes(1 + number % 300)
                    kept[key] = dice.randbytes(dice.choice((0, 1, 100, 1900, 2030, 2050, 5000)))
                    writing.put(key, kept[key])
                for key in dice.sample(sorted(kept), len(kept) // 5):
                    writing.delete(key)
                    del kept[key]
    return kept


@pytest.mark.parametrize('count', [0, 1, 30, 3000])
def test_every_value_is_as_it_was_written(tmp_path, count):
    kept = written(tmp_path, count)
    with Database(tmp_path / 'data.mdb') as database:
        assert len(database) == len(kept) and database.needed <= database.size
        assert {key: database.get(key) for key in kept} == kept
        others = [f'image-{number:09d}'.encode() for number in range(2000)] + [b'', b'\xff' * 400]
        assert all(database.get(key) == kept.get(key) for key in others)


def test_a_table_whose_values_are_tables_is_refused(tmp_path):
    with lmdb.open(str(tmp_path), max_dbs=2, map_size=1 << 20) as environment:
        environment.open_db(b'inner')
    with Database(tmp_path / 'data.mdb') as database, pytest.raises(Damaged, match='table of its own'):
        database.get(b'inner')


@pytest.mark.parametrize('content', [b'', b'x' * 100, b'nothing' * 2000])
def test_a_file_that_is_no_lmdb_is_refused(tmp_path, content):
    (tmp_path / 'data.mdb').write_bytes(content)
    with pytest.raises(Damaged):
        Database(tmp_path / 'data.mdb')


def test_changed_bytes_are_refused_or_read(tmp_path):
    kept = written(tmp_path, 60)
    file, dice, ends = tmp_path / 'data.mdb', random.Random(1), {'read': 0, 'refused': 0}
    whole = file.read_bytes()
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(30):  # in what stands before the values
            content[4096 * dice.randrange(len(content) // 4096) + dice.randrange(200)] = dice.randrange(256)
        file.write_bytes(content)
        for key in list(kept)[::7]:
            try:
                with Database(file) as database:
                    database.get(key)
                ends['read'] += 1
            except Damaged:
                ends['refused'] += 1
    assert min(ends.values()) > 50
