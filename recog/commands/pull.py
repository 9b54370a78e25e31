"""`recog pull`: a published reader fetched into the cache."""

import argparse
import sys

from recog.commands.options import Command


def add(pull: argparse.ArgumentParser) -> None:
    """The arguments."""
    pull.add_argument('address', help='hf://OWNER/NAME[@REVISION], or https://... of a folder')


def run(arguments: argparse.Namespace) -> int:
    """Fetch it and say where it is."""
    from recog.publish import addresses, pull

    address = addresses.parse(arguments.address)
    print(pull.pull(address))
    print(f'try: recog predict {address.text} IMAGES', file=sys.stderr)
    return 0


COMMAND = Command('pull', 'Fetch a published reader into the cache, check it, and print its folder.', add,
                  run, epilog="Needs pip install 'recog[hub]'. Nothing that is fetched is run.")
