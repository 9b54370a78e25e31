"""`recog demo`: the demos of all algorithms on a page."""

import argparse
from pathlib import Path

from recog.commands.options import Command, add_listening, start
from recog.errors import chosen


def add(demo: argparse.ArgumentParser) -> None:
    """The arguments."""
    demo.add_argument('--folder', default='runs',
                      help='where the workdirs demo-NAME are, or will be (default runs)')
    demo.add_argument('--only', default='', metavar='A,B',
                      help='of the algorithms these, by the names of their experiments (default: all)')
    add_listening(demo)


def run(arguments: argparse.Namespace) -> int:
    """Train the demos that are missing, then serve all of them."""
    from recog.server import demo, serve

    settings = serve.Settings(batch=1, beam=demo.BEAM, invert=arguments.invert, explain=True,
                              most_bytes=arguments.most_bytes, most_pixels=arguments.most_pixels,
                              queue=arguments.queue, timeout=arguments.timeout,
                              host=arguments.host, allow_host=tuple(arguments.allow_host))
    serve.check(settings)
    folder = Path(arguments.folder)
    known = demo.demos(folder)
    wanted = {name: known[name] for name in chosen('--only', arguments.only, known)}
    with serve.listen(arguments.host, arguments.port) as listening:
        folders = demo.trained(folder, wanted)
        start()
        return serve.serve(folders, listening, settings)


COMMAND = Command('demo', 'Serve the demos of all algorithms on a page; trains those that are missing.', add,
                  run, epilog="Needs pip install 'recog[serve]', and to be run in a checkout.")
