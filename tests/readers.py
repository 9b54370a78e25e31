"""A small published reader, and the run of an earlier version that it is made of."""

import json
from pathlib import Path

from recog.commands import command_line
from recog.workdir import published

WRITTEN = Path(__file__).parent / 'fixtures' / 'recog-0.1.0-2bb25bb'
RUN, DATA = WRITTEN / 'run', WRITTEN / 'data'
SAMPLES = sorted(str(file) for file in (RUN / 'samples').glob('*.png'))
READ = [json.loads(line)['text'] for line in (WRITTEN / 'read.jsonl').read_text().splitlines()]
LICENCES = ('--licence-weights', 'Apache-2.0', '--licence-data', 'formulas of the tests, Apache-2.0')


def publish(place, *options):
    """The command; returns its status."""
    line = ['publish', RUN, place, *LICENCES, '--data', DATA, *options]
    return command_line.main([str(argument) for argument in line])


def sealed(folder):
    """Write the manifest of a reader anew, as somebody would who has changed its files."""
    manifest = json.loads((folder / 'reader.json').read_text())
    manifest['files'] = {name: published.described((folder / name).read_bytes())
                         for name in manifest['files']}
    manifest['digest'] = published.digest(manifest)
    (folder / 'reader.json').write_text(json.dumps(manifest))
