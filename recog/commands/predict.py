"""`recog predict`: images to texts, a line each."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recog.commands.options import (
    Command,
    add_decoding,
    add_devices,
    add_engine,
    add_workdir,
    existing_workdir,
    model_folder,
    refuse_negative,
    start_for,
)
from recog.errors import ConfigError
from recog.text.lines import in_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recog.data.files import Files
    from recog.reading.read import Reading, Scored
    from recog.reading.recognizer import Recognizer


def add(predict: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_workdir(predict)
    predict.add_argument('images', nargs='+', help="files, folders, quoted patterns ('scans/**/*.png'), or - "
                         'for a list on standard input, one file a line')
    predict.add_argument('--json', action='store_true',
                         help='one JSON object a line instead: file, text, confidence (the probability of '
                         'the text), score (its logarithm), mean_token (the mean probability of its tokens)')
    predict.add_argument('--batch', type=int, default=64, help='images at a time (default 64)')
    predict.add_argument('--invert', default='auto', choices=('yes', 'no', 'auto'),
                         help='whether the images have dark ink where the training images have light, or the '
                         'other way round; only for recipes with image.ink (default: found out for each)')
    predict.add_argument('--nbest', type=int, default=1, metavar='N',
                         help='the N best texts of the beam, each on a line; without --beam, a beam of N')
    predict.add_argument('--at-least', type=float, default=0.0, metavar='T',
                         help='leave out what is read with a confidence below T, from 0 to 1: the text stays '
                         'empty, and a last field says so (in JSON `below`, with what was read in `unsure`)')
    predict.add_argument('--places', action='store_true',
                         help='as --json, with the place of each character: centre (x, y) and box (left, '
                         "top, right, bottom) in the image's pixels, and confidence")
    predict.add_argument('--rotate', default='', choices=('', 'auto'),
                         help='auto: read each image as it is and turned by 90, 180 and 270 degrees, keep '
                         'the likeliest, and say which')
    predict.add_argument('--explain', action='store_true',
                         help='also draw for each image where each character was read')
    predict.add_argument('--out', default='explanations', metavar='FOLDER',
                         help='folder of these (default explanations)')
    add_decoding(predict)
    add_devices(predict)
    add_engine(predict)


def run(arguments: argparse.Namespace) -> int:
    """Read images; what cannot be read is named, the rest goes on, and the status tells."""
    refuse_negative(arguments, 'batch', 'beam', 'max-length', 'nbest')
    if not 0 <= arguments.at_least <= 1:
        raise ConfigError(f'--at-least {arguments.at_least:g} must be from 0 to 1')
    from recog.data.files import Files
    from recog.reading.exported import is_exported
    from recog.reading.recognizer import load

    arguments.workdir = model_folder(arguments.workdir)
    if not is_exported(arguments.workdir):
        existing_workdir(arguments.workdir)
    names = [line.rstrip('\n') for name in arguments.images
             for line in (sys.stdin if name == '-' else [name]) if line.strip()]
    files, empty = _files(names)
    source = Files('images', files)
    batch = arguments.batch or 64
    if len(source) <= batch and _all_broken(source):  # nothing is compiled for them
        return 1
    start_for([arguments.workdir], arguments.devices)
    recognizer = load(arguments.workdir, beam=arguments.beam, max_length=arguments.max_length, batch=batch,
                      invert=arguments.invert, width_rule=arguments.width_rule, best=arguments.nbest,
                      explain=arguments.explain, step=arguments.step, devices=arguments.devices,
                      places=arguments.places, rotate=arguments.rotate, engine=arguments.engine)
    status = _print(recognizer, source, as_json=arguments.json or arguments.places, least=arguments.at_least,
                    drawings=arguments.out if arguments.explain else '')
    return 1 if empty else status


def _files(names: 'Sequence[str]') -> tuple[list[str], bool]:
    """The images of all names, and whether a folder among them holds none, which is said.

    What is not there stays among them: it is named in its turn. Nothing at all is refused.
    """
    from recog.data.files import find_images

    files: list[str] = []
    problems: list[ConfigError] = []
    empty = False
    for name in names:
        try:
            files += find_images([name])
        except ConfigError as error:
            problems.append(error)
            if Path(name).is_dir():
                empty = True
                print(f'recog predict: {in_line(str(error))}', file=sys.stderr)
            else:
                files.append(name)
    if problems and len(problems) == len(names):
        raise problems[0]
    return files, empty


def _all_broken(source: 'Files') -> bool:
    """Whether no image of these can be read; then each is named."""
    broken = [row for row in source.rows(range(len(source))) if row.image is None]
    if len(broken) < len(source):
        return False
    for row in broken:
        _complain(row.id, row.reason)
    return True


def _print(recognizer: 'Recognizer', source: 'Files', *, as_json: bool, least: float, drawings: str) -> int:
    """Read and print image by image, and draw where that is asked for."""
    from tqdm import tqdm

    from recog.reading import explain

    pictured = explain.Pictures(Path(drawings), recognizer) if drawings else None
    failed = unsure = 0
    for reading in tqdm(recognizer.read(source), total=len(source), unit='image', leave=False,
                        disable=None if len(source) > 4 * recognizer.batch else True):
        file = source.paths[reading.row]
        if reading.reason:
            _complain(file, reading.reason)
        failed += reading.text is None
        unsure += reading.text is not None and reading.confidence < least
        if pictured and reading.text is not None:
            pictured.draw(reading, file)
        _say(file, reading, recognizer, source, as_json, least)
    if pictured:
        print(f'{pictured.count} pictures in {drawings}', file=sys.stderr)
    if unsure:
        print(f'recog predict: {unsure} of {len(source)} texts are less sure than {least:g}, and left out',
              file=sys.stderr)
    if failed:
        print(f'recog predict: {failed} of {len(source)} images could not be read', file=sys.stderr)
    return 1 if failed else 0


def _complain(file: str, reason: str) -> None:
    print(f'recog predict: {in_line(file)}: {reason}', file=sys.stderr)


def _say(file: str, reading: 'Reading', recognizer: 'Recognizer', source: 'Files', as_json: bool,
         least: float) -> None:
    """The lines of one image: of a formula also whether its LaTeX is well-formed; what is less sure than the
    least is left out, which is said."""
    from recog.reading.recognizer import text_facts

    if reading.text is None:
        if as_json:
            _say_json({'file': file, 'error': reading.reason})
        return
    formula = recognizer.about['formula']
    answers = [_sure(text_facts(formula, said), said, least) for said in reading.others or (reading,)]
    if as_json:
        more: dict[str, Any] = {'nbest': answers} if reading.others else {}
        more |= {'turned': reading.turned} if recognizer.rotate else {}
        if recognizer.places:
            more['places'] = [each.facts() for each in recognizer.located(reading, source)]
        _say_json({'file': file, **answers[0], **more})
        return
    turned = f'\tturned {reading.turned}' if recognizer.rotate else ''
    for answer in answers:
        judged = ('\twell-formed' if answer['well_formed'] else '\tbroken') if formula else ''
        rest = f'{turned}\tbelow {least:g}' if 'below' in answer else judged + turned
        print(f'{in_line(file)}\t{in_line(answer["text"])}\t{answer["confidence"]:.3f}{rest}')


def _sure(answer: dict[str, Any], said: 'Scored | Reading', least: float) -> dict[str, Any]:
    """An answer, without its text if that is less sure than the least."""
    if said.confidence >= least:
        return answer
    return {**answer, 'text': '', 'below': least, 'unsure': answer['text']}


def _say_json(fields: dict[str, Any]) -> None:
    """A line of JSON, which is UTF-8 even if the name of a file is not: such bytes are escaped as \\udcXX."""
    line = json.dumps(fields, ensure_ascii=False)
    print(line.encode('utf-8', 'backslashreplace').decode('utf-8'))


COMMAND = Command('predict',
                  'Read images: one line `file TAB text TAB confidence` each, in the order given.', add, run)
