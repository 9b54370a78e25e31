"""The command line of a builder's script."""

import argparse
import inspect
import os
import sys
from collections.abc import Sequence

from recog.buckets import refuse_remote
from recog.errors import ConfigError
from recog.prepare import workers
from recog.prepare.builder import Builder
from recog.text.lines import in_line


def main(builder: type[Builder], argv: Sequence[str] | None = None) -> int:
    """The command line of a builder's script; the exit status is 0 only if a complete set is there."""
    parser = argparse.ArgumentParser(description=inspect.getdoc(builder), allow_abbrev=False)
    parser.add_argument('--source', required=True, metavar='PATH',
                        help='what was downloaded: an archive, a file or a folder')
    parser.add_argument('--data', default=os.environ.get('RECOG_DATA', './data'), metavar='FOLDER',
                        help='root of prepared sets (default: $RECOG_DATA, else ./data)')
    names = [config.name for config in builder.BUILDER_CONFIGS]
    parser.add_argument('--config', metavar='NAME', help=f'one of: {", ".join(names)}' if names
                        else argparse.SUPPRESS)
    parser.add_argument('--name', default='',
                        help='what the set is called below the root (default: its own name)')
    parser.add_argument('--workers', type=int, default=0, help='processes (default: one a core)')
    parser.add_argument('--overwrite', action='store_true', help='prepare anew what is there already')
    common = set(vars(parser.parse_args(['--source', ''])))
    builder.arguments(parser)
    given = vars(parser.parse_args(argv))
    options = {name: value for name, value in given.items() if name not in common}
    for stream in (sys.stdout, sys.stderr):  # names of files may be no UTF-8
        stream.reconfigure(errors='backslashreplace')  # type: ignore[union-attr]
    try:
        if given['workers'] < 0:
            raise ConfigError(f'--workers {given["workers"]} must be above 0, or 0 for one a core')
        refuse_remote('--data', given['data'])
        made = builder(source=given['source'], data_dir=given['data'], config=given['config'],
                       workers=given['workers'], options=options, name=given['name'])
        print(made.prepare(overwrite=given['overwrite']))
        return 0
    except ConfigError as error:
        print(f'{parser.prog}: {in_line(str(error))}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'{parser.prog}: interrupted; nothing was kept', file=sys.stderr)
        return 130
    except (OSError, workers.WorkerGone) as error:
        said = str(error)
        if isinstance(error, OSError) and error.strerror:
            said = f'{error.filename}: {error.strerror}' if error.filename else error.strerror
        print(f'{parser.prog}: {in_line(said)}', file=sys.stderr)
        return 1
    except MemoryError:
        print(f'{parser.prog}: there is not enough memory; nothing was kept', file=sys.stderr)
        return 1
