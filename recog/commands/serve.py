"""`recog serve`: trained models over HTTP."""

import argparse

from recog.commands.options import (
    Command,
    add_devices,
    add_engine,
    add_listening,
    model_folder,
    refuse_negative,
    start_for,
)


def add(serve: argparse.ArgumentParser) -> None:
    """The arguments."""
    serve.add_argument('folder', nargs='+', metavar='[NAME=]FOLDER',
                       help='a workdir, an exported folder or a reader by its name; its model is called '
                       'NAME, else as the folder')
    add_listening(serve)
    serve.add_argument('--batch', type=int, default=32,
                       help='images that a model reads at a time, at most (default 32)')
    serve.add_argument('--explain', action='store_true',
                       help='answer with the place of each character and with pictures of it, to those who '
                       'ask; loads each model twice')
    serve.add_argument('--rotate', default='', choices=('', 'auto'),
                       help='auto: read each image in four directions, as of predict')
    serve.add_argument('--beam', type=int, default=0,
                       help='width of the beam search, and texts that a request may ask for')
    serve.add_argument('--max-length', type=int, default=0, metavar='N',
                       help="tokens at most (default: the recipe's)")
    add_devices(serve)
    add_engine(serve)


def run(arguments: argparse.Namespace) -> int:
    """Load the models, then serve them until a signal comes."""
    refuse_negative(arguments, 'beam', 'max-length')
    from recog.server import serve

    settings = serve.Settings(
        batch=arguments.batch, beam=arguments.beam, max_length=arguments.max_length, invert=arguments.invert,
        rotate=arguments.rotate, devices=arguments.devices, engine=arguments.engine,
        explain=arguments.explain,
        most_bytes=arguments.most_bytes, most_pixels=arguments.most_pixels, queue=arguments.queue,
        timeout=arguments.timeout, host=arguments.host, allow_host=tuple(arguments.allow_host))
    serve.check(settings)
    named = {name: model_folder(folder) for name, folder in serve.names(arguments.folder).items()}
    listening = serve.listen(arguments.host, arguments.port)
    start_for(named.values(), arguments.devices)
    return serve.serve(named, listening, settings)


COMMAND = Command('serve', 'Serve trained models over HTTP, with a page to try them on.', add, run,
                  epilog="Needs pip install 'recog[serve]'. With RECOG_TOKEN in the environment, requests "
                  'need that token.')
