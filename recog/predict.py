"""The command `recog predict`."""

import argparse
import glob
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from recog.data.files import Files
from recog.errors import ConfigError
from recog.reading.exported import is_exported
from recog.reading.read import Reading
from recog.reading.recognizer import Recognizer, load, needs_workdir, text_facts
from recog.workdir.folder import workdir_path

if TYPE_CHECKING:

    pass


SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm')


def find(names: Iterable[str]) -> list[str]:
    """The image files that files, folders and patterns stand for, in the order given (folders sorted)."""
    files: list[str] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(str(file) for file in path.rglob('*') if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise ConfigError(f'folder {name} holds no image ({", ".join(SUFFIXES)})')
            files += inside
        elif path.is_file():
            files.append(name)
        else:
            matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []
            if not matches:
                raise ConfigError(f'image {name} does not exist')
            files += [match for match in matches if Path(match).is_file()]
    return files


def run(arguments: argparse.Namespace) -> int:
    """Read images; what cannot be read is named, the rest goes on, and the status tells."""
    if not is_exported(arguments.workdir):
        needs_workdir(workdir_path(arguments.workdir))
    names = [line.rstrip('\n') for name in arguments.images
             for line in (sys.stdin if name == '-' else [name]) if line.strip()]
    source = Files('images', find(names))
    batch = arguments.batch or 64
    if len(source) <= batch:  # nothing is compiled for images that all turn out to be broken
        broken = [row for row in source.rows(range(len(source))) if row.image is None]
        if len(broken) == len(source):
            for row in broken:
                print(f'recog predict: {row.id}: {row.reason}', file=sys.stderr)
            return 1
    recognizer = load(arguments.workdir, beam=arguments.beam, max_length=arguments.max_length, batch=batch,
                      invert=arguments.invert, width_rule=arguments.width_rule, best=arguments.nbest, explain=arguments.explain,
                      step=arguments.step, devices=arguments.devices)
    return _print(recognizer, source, arguments)


def _print(recognizer: Recognizer, source: Files, arguments: argparse.Namespace) -> int:
    """Read and print image by image, and draw where that is asked for."""
    from tqdm import tqdm

    from recog.reading import explain

    pictured = explain.Pictures(Path(arguments.out), recognizer) if arguments.explain else None
    failed = 0
    for reading in tqdm(recognizer.read(source), total=len(source), unit='image', leave=False,
                        disable=None if len(source) > 4 * recognizer.batch else True):
        file = source.paths[reading.row]
        if reading.reason:
            print(f'recog predict: {file}: {reading.reason}', file=sys.stderr)
        failed += reading.text is None
        if pictured and reading.text is not None:
            pictured.draw(reading, file)
        _say(file, reading, recognizer.about['formula'], arguments.json)
    if pictured:
        print(f'{pictured.count} pictures in {arguments.out}', file=sys.stderr)
    if failed:
        print(f'recog predict: {failed} of {len(source)} images could not be read', file=sys.stderr)
    return 1 if failed else 0


def _say(file: str, reading: Reading, formula: bool, as_json: bool) -> None:
    """The lines of one image: of a formula also whether its LaTeX is well-formed."""
    if reading.text is None:
        if as_json:
            print(json.dumps({'file': file, 'error': reading.reason}, ensure_ascii=False))
        return

    answers = [text_facts(formula, *other) for other in reading.others] or [text_facts(formula, reading.text, reading.confidence)]
    if as_json:
        several = {'nbest': answers} if reading.others else {}
        print(json.dumps({'file': file, **answers[0], **several}, ensure_ascii=False))
        return
    for answer in answers:
        judged = ('\twell-formed' if answer['well_formed'] else '\tbroken') if formula else ''
        print(f'{file}\t{answer["text"]}\t{answer["confidence"]:.3f}{judged}')
