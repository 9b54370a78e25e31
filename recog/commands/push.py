"""`recog push`: a published reader sent to the Hub."""

import argparse
from pathlib import Path

from recog.commands.options import Command


def add(push: argparse.ArgumentParser) -> None:
    """The arguments."""
    push.add_argument('folder', help='a published reader')
    push.add_argument('address', help='hf://OWNER/NAME; made if it is not there')
    push.add_argument('--private', action='store_true', help='make a private repository')


def run(arguments: argparse.Namespace) -> int:
    """Send it and say what came of it."""
    from recog.publish import addresses, push

    print(push.push(Path(arguments.folder), addresses.parse(arguments.address), arguments.private))
    return 0


COMMAND = Command('push', 'Send a published reader to a repository of the Hugging Face Hub, in one commit.',
                  add, run, epilog="Needs pip install 'recog[hub]', and HF_TOKEN or hf auth login.")
