"""Exported folders whose manifests, models or weights are changed, and whose digests are made right again.

Models in StableHLO are left as they are: JAX's own reader hangs on about one changed file in 150, as
recog/reading/exported.py says.
"""

import json
import shutil

import small  # noqa: F401, how the child compiles
from mutations import mutated
from small import ROOT
from victim import Victim

TRIES = 600
FIXTURE = ROOT / 'tests' / 'fixtures' / 'recog-0.1.0-2bb25bb'
VALUES = (None, True, -1, 0, 1, 7, 1 << 31, 1 << 63, 10 ** 400, 0.5, float('nan'), float('inf'), '', 'a',
          '../a', '/dev/zero', 'a\nb', '\ud800', 'x' * 100_000, [], [[]], [0], ['a'] * 1000, {}, {'a': {}},
          {'': None})


def read(folder, picture, explain):
    """What an exported folder reads in a picture."""
    import recog

    return recog.load(folder, explain=explain)(picture).text


def altered(manifest, dice):
    """A manifest with some values replaced or left out."""
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        parent, key = None, None
        value = manifest
        while isinstance(value, dict | list) and value and (parent is None or dice.random() < 0.8):
            parent, key = value, dice.choice([*value] if isinstance(value, dict) else range(len(value)))
            value = parent[key]
        if parent is None:
            continue
        if dice.random() < 0.25:
            del parent[key]
        else:
            parent[key] = dice.choice(VALUES)
    return manifest


def sealed(folder, manifest, names):
    """Write the manifest with digests that are right."""
    from recog.reading.exported import described, digest

    if isinstance(manifest.get('files'), dict):
        for name in names:
            if name in manifest['files']:
                manifest['files'][name] = described(folder / name)
    if manifest:
        manifest['digest'] = digest(manifest)
    (folder / 'manifest.json').write_text(json.dumps(manifest))


def run(folder, dice, tries):
    """A changed file each."""
    whole = [FIXTURE / f'export-{form}' for form in ('onnx', 'stablehlo')]
    picture = str(next(FIXTURE.rglob('*.png')))
    with Victim('campaigns.exports:read', space=1 << 36) as victim:
        for source in whole:  # what imports and compilation take is no growth
            assert victim.attempt(source.name, str(source), picture, False).good
        for number in range(tries):
            source = dice.choice(whole)
            place = shutil.copytree(source, folder / 'export')
            manifest = json.loads((place / 'manifest.json').read_text())
            names = [*manifest['files']]
            changed = dice.choice(['manifest.json', *(name for name in names if 'stablehlo' not in name)])
            if changed == 'manifest.json':
                manifest = altered(manifest, dice)
            else:
                (place / changed).write_bytes(mutated((place / changed).read_bytes(), dice))
            sealed(place, manifest, names)
            yield victim.attempt(f'{number}: {source.name}/{changed}', str(place), picture,
                                 'explain' in changed)
            shutil.rmtree(place)
