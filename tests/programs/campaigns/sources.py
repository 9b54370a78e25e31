"""Sources of data sets that are made to cost, and sound ones with changed bytes, through the builders.

Each try is one preparation by one process. Nothing of a refused one may be left behind.
"""

import contextlib
import io
import json
import shutil
from pathlib import Path

import hostile_sources as hostile
from mutations import mutated
from small_sources import SOUND, own
from victim import Victim

TRIES = 1500


def prepared(script, arguments, data, drawn=False):
    """What became of a preparation: what it rejected, or a refusal; `drawn`: the report has its sheet."""
    from builders import load

    from recog import prepare
    from recog.errors import ConfigError
    from recog.prepare import sheet

    sheet.draw = DRAW.setdefault('sheet', sheet.draw) if drawn else lambda file, *_: file.touch()
    builders = [each for each in vars(load(script)).values()
                if isinstance(each, type) and issubclass(each, prepare.Builder)]
    errors, printed = io.TextIOWrapper(io.BytesIO(), 'utf-8'), io.TextIOWrapper(io.BytesIO(), 'utf-8')
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(printed):
        status = prepare.main(builders[-1], [*arguments, '--data', data, '--workers', '1'])
    errors.flush()
    said = errors.buffer.getvalue().decode('utf-8').removesuffix('\n').split('\n')
    left = [file for file in Path(data).rglob('*') if file.is_file()] if Path(data).exists() else []
    if status:
        assert not left, f'left behind: {left}'
        raise ConfigError('\n'.join(line for line in said if not line.startswith('WARNING')))
    assert not [file for file in left if '.incomplete' in str(file)], f'left behind: {left}'
    return [{reason: facts['count'] for reason, facts in json.loads(file.read_text())['rejected'].items()}
            for file in left if file.name == 'report.json']


DRAW: dict = {}


def found(folder):
    """What `recog predict` finds in a folder and reads of it."""
    from recog.data.files import Files, find_images

    source = Files('images', find_images([folder, f'{folder}/**/*.png']))
    return [row.reason for row in source.rows(range(len(source)))]


def run(folder, dice, tries):
    """Each odd source once, then changed bytes."""
    with Victim('campaigns.sources:prepared', space=6 << 30) as victim:
        whole = SOUND['own tsv'](_place(folder))
        assert victim.attempt('sound', whole.script, whole.arguments, str(folder / 'data'), True).good
        for name, make in hostile.SOURCES.items():
            made = make(_place(folder))
            yield victim.attempt(name, made.script, made.arguments, str(folder / 'data'), True)
        for number in range(tries):
            name = dice.choice(list(SOUND))
            made = SOUND[name](_place(folder))
            file = dice.choice(made.files)
            content = mutated(file.read_bytes(), dice)
            file.write_bytes(content)
            outcome = victim.attempt(f'change {number} of {name}', made.script, made.arguments,
                                     str(folder / 'data'))
            yield outcome if outcome.good else outcome._replace(said=f'{outcome.said} {content[:2000]!r}')
    with Victim('campaigns.sources:found') as victim:
        for name, make in (('links', hostile.looped), ('pipe', lambda made: hostile.piped(made, 'p.png')),
                           ('device', lambda made: hostile.endless(made, 'z.png'))):
            made = make(own(_place(folder), {}))
            yield victim.attempt(f'images to read: {name}', made.arguments[1])


def _place(folder):
    """An empty place for a source, and no data."""
    for name in ('place', 'data'):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / 'place').mkdir()
    return folder / 'place'
