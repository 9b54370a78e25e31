"""`recog demo`: the demos of all algorithms on a page."""

import argparse
from pathlib import Path

from recog.commands.options import Command, add_listening, start
from recog.errors import chosen


def add(demo: argparse.ArgumentParser) -> None:
    """The arguments."""
    demo.add_argument('--folder', default='',
                      help='demos of the algorithms instead of the readers that come with recog, their '
                      'workdirs demo-NAME in this folder (default runs, where no reader came with recog)')
    demo.add_argument('--only', default='', metavar='A,B',
                      help='of the algorithms these, by the names of their experiments (default: all)')
    add_listening(demo)


def run(arguments: argparse.Namespace) -> int:
    """Serve the readers that came with recog; else the demos, after training those that are missing."""
    from recog.reading.named import come_with
    from recog.server import demo, serve

    settings = serve.Settings(batch=1, beam=demo.BEAM, invert=arguments.invert, explain=True,
                              most_bytes=arguments.most_bytes, most_pixels=arguments.most_pixels,
                              queue=arguments.queue, timeout=arguments.timeout,
                              host=arguments.host, allow_host=tuple(arguments.allow_host))
    serve.check(settings)
    readers = {} if arguments.only or arguments.folder else \
        {reader.name: str(reader.folder) for reader in come_with()}
    folder = Path(arguments.folder or 'runs')
    known = {} if readers else demo.demos(folder)
    wanted = {name: known[name] for name in chosen('--only', arguments.only, known)}
    with serve.listen(arguments.host, arguments.port) as listening:
        folders = readers or demo.trained(folder, wanted)
        start()
        return serve.serve(folders, listening, settings)


COMMAND = Command('demo', 'Serve the readers that come with recog on a page, or the demos of the algorithms; '
                  'trains those that are missing.', add, run,
                  epilog="Needs pip install 'recog[serve]'; the demos, to be run in a checkout.")
