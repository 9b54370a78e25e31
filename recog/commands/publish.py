"""`recog publish`: a trained model as a reader, a folder that can be given away."""

import argparse
from pathlib import Path

from recog.commands.options import Command, add_data, add_workdir, existing_workdir, refuse_negative, start
from recog.errors import ConfigError


def add(publish: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_workdir(publish)
    publish.add_argument('folder', help='where the reader is written, which gets its name; must not hold '
                         'anything yet')
    publish.add_argument('--licence-weights', required=True, metavar='LICENCE', help='of the weights')
    publish.add_argument('--licence-data', required=True, metavar='LICENCE',
                         help='of the data that they were trained on')
    publish.add_argument('--languages', default='', metavar='TEXT', help='that it reads, for the card')
    publish.add_argument('--kind', default='float16', choices=('float16', 'bfloat16', 'float32'),
                         help='type of the weights (default float16)')
    publish.add_argument('--set', action='append', default=[], metavar='NAME[/CONFIG][:SPLIT]',
                         help='measure this set with the rounded weights, for the card; may be given several '
                         "times (default: the card has the workdir's results)")
    publish.add_argument('--weakness', action='append', default=[], metavar='TEXT=NAME[/CONFIG][:SPLIT]',
                         help='measure this set, too, as a known weakness: small=words-small:test')
    publish.add_argument('--beam', type=int, default=0,
                         help='width of the beam search with which the reader is measured, and reads where '
                         "none is asked for (default: that of the model's lexicon, else 1, and the recipe's "
                         'for what is measured)')
    add_data(publish)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, or nothing."""
    workdir = existing_workdir(arguments.workdir)
    place = Path(arguments.folder)
    if '://' in arguments.folder:
        raise ConfigError(f'folder {arguments.folder} must be on this machine; recog push sends it')
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f'folder {place} is there already and not empty; choose another')
    for option in ('licence-weights', 'licence-data'):
        if not getattr(arguments, option.replace('-', '_')).strip():
            raise ConfigError(f'--{option} must name a licence')
    weaknesses = dict(map(_weakness, arguments.weakness))
    refuse_negative(arguments, 'beam')

    from recog.data.sets import open_set
    from recog.publish import write
    from recog.workdir.opened import open_workdir

    start()
    opened = open_workdir(workdir, arguments.step)
    for name in (*arguments.set, *weaknesses.values()):
        open_set(name, opened.config, arguments.data)  # before anything is written
    manifest = write.publish(opened, place, write.Asked(
        arguments.kind, arguments.licence_weights, arguments.licence_data, arguments.languages,
        tuple(arguments.set), weaknesses, arguments.data, arguments.beam))
    size = sum(file.stat().st_size for file in place.iterdir())
    print(f'{place}: {manifest["model"]} of step {opened.step}, {size:,} bytes; '
          f'read its card: {place / "card.md"}; try: recog predict {place} IMAGES')
    return 0


def _weakness(given: str) -> tuple[str, str]:
    text, equals, name = given.partition('=')
    if not (text and equals and name):
        raise ConfigError(f'--weakness {given!r} must be TEXT=NAME, such as small=words-small:test')
    return text, name


COMMAND = Command('publish', 'Write a trained model as a reader: a small folder with weights, recipe, '
                  'vocabulary and a card, which works wherever a workdir does.', add, run,
                  epilog='Use it with recog predict FOLDER IMAGES, or send it away with recog push.')
