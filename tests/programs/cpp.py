"""Builds deploy/cpp and compares what it reads with `recog predict`, on files of every kind, for all
algorithms whose images it can fit; exports of the others have to be refused.

    apt-get install cmake g++ libopencv-dev nlohmann-json3-dev && pip install openvino && python
    tests/programs/cpp.py [FOLDER ...]

A FOLDER is an export to ONNX; without one, narrow models with random weights are exported. OpenVINO may be
elsewhere: OpenVINO_DIR=.../site-packages/openvino/cmake. Where something is missing it says `not run` and
ends with status 0.
"""

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
from narrow_models import MATHS, make_workdir
from PIL import Image
from small import ROOT

from recog import models
from recog.commands import command_line
from recog.config import experiments, recipe
from recog.data.sets import open_set
from recog.images.fit import fit_image
from recog.images.read import ORIENTATION, read_image

CLOSE = 0.001  # confidences
THUMBNAILS = 60


class NotRun(Exception):
    """Something is not installed."""


def build(place):
    """The program, or `NotRun`."""
    if not shutil.which('cmake'):
        raise NotRun('there is no cmake')
    module = importlib.util.find_spec('openvino')
    openvino = os.environ.get('OpenVINO_DIR') or (module and Path(module.origin).parent / 'cmake')
    if not openvino:
        raise NotRun('there is no OpenVINO (pip install openvino)')
    made = subprocess.run(['cmake', '-S', ROOT / 'deploy' / 'cpp', '-B', place, f'-DOpenVINO_DIR={openvino}'],
                          capture_output=True, text=True)
    if made.returncode:
        missing = re.findall(r'provided by\s+"(\w+)"', made.stderr)
        if missing or 'No CMAKE_CXX_COMPILER' in made.stderr:
            raise NotRun(f'CMake finds no {missing[0] if missing else "C++ compiler"}')
        raise RuntimeError(made.stderr)
    made = subprocess.run(['cmake', '--build', place], capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(made.stdout + made.stderr)
    return place / 'recog_read'


def narrow(place):
    """Exports of a narrow model of every algorithm."""
    for name in models.names():
        make_workdir(place / name, name)
        with contextlib.redirect_stdout(io.StringIO()):
            if command_line.main(['export', str(place / name), str(place / f'{name}_onnx'), '--format',
                                  'onnx']):
                raise RuntimeError(f'{name} was not exported')
    return [place / f'{name}_onnx' for name in models.names()]


def drawn(maths):
    """Images of words or formulas, BGR."""
    config = experiments.load(f'{ROOT}/experiments/{MATHS[0] if maths else "crnn"}.py:demo')
    rows = open_set(config.eval.report[0], config, '').rows(range(12))
    return [row.image if row.image.ndim == 3 and row.image.shape[2] == 3
            else cv2.cvtColor(row.image, cv2.COLOR_GRAY2BGR)
            for row in rows]


def files(place, maths):
    """Such images as files of every kind."""
    place.mkdir()
    each = drawn(maths)
    rgb = [Image.fromarray(np.ascontiguousarray(image[:, :, ::-1])) for image in each]
    height, width = each[6].shape[:2]
    shade = np.linspace(40, 255, width)[None].repeat(height, 0).astype(np.uint8)
    cv2.imwrite(str(place / 'plain.png'), each[0])
    rgb[1].convert('L').save(place / 'grey.png')
    rgb[2].save(place / 'photo.jpg', quality=90)
    rgb[3].transpose(Image.Transpose.ROTATE_90).save(place / 'turned.jpg', quality=95, exif=turned(6))
    rgb[4].transpose(Image.Transpose.ROTATE_270).convert('RGBA').save(place / 'turned.png', exif=turned(8))
    cv2.imwrite(str(place / 'deep.png'), each[5].astype(np.uint16) * 257 + 100)
    cv2.imwrite(str(place / 'alpha.png'), np.dstack([each[6], shade]))
    rgb[7].quantize(32).save(place / 'palette.png')
    rgb[8].quantize(32).save(place / 'palette_transparent.png', transparency=0)
    rgb[9].save(place / 'key.png', transparency=rgb[9].getpixel((0, 0)))
    cv2.imwrite(str(place / 'plain.bmp'), each[10])
    cv2.imwrite(str(place / 'inverted.png'), 255 - each[11])
    large = cv2.resize(each[0], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    paper = np.linspace(150, 220, large.shape[1])[None, :, None]
    cv2.imwrite(str(place / 'large.png'), (paper - 0.5 * large).clip(0, 255).astype(np.uint8))
    cv2.imwrite(str(place / 'half.png'), each[1][:, :max(each[1].shape[1] // 2, 1)])
    return sorted(place.iterdir())


def turned(orientation):
    """EXIF data with this orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def broken(place):
    """Files that are no images."""
    place.mkdir()
    sound = cv2.imencode('.png', np.eye(40, dtype=np.uint8))[1].tobytes()
    (place / 'damaged.png').write_bytes(sound.replace(b'IDAT', b'IDAT\1'))
    (place / 'empty.png').touch()
    (place / 'words.jpg').write_text('no image')
    encoded = cv2.imencode('.png', np.zeros((40, 90, 3), np.uint8))[1].tobytes()
    (place / 'short.png').write_bytes(encoded[:-20])
    encoded = cv2.imencode('.jpg', np.zeros((40, 90, 3), np.uint8))[1].tobytes()
    (place / 'short.jpg').write_bytes(encoded[:-20])
    return sorted(place.iterdir())


def predicted(folder, given):
    """Status, lines and complaints of `recog predict`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command_line.main(['predict', str(folder), *map(str, given)])
    return status, out.getvalue().splitlines(), err.getvalue().splitlines()


def read(program, *arguments):
    """The same of our program."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def complaints(lines):
    """Which files were refused, and which were shrunk by how much;
    each reader has its own words for what is broken."""
    return [re.sub(r'^recog[ _]\w+: ([^:]*).*?(shrunk.*)?$', r'\1 \2', line) for line in lines]


def is_lacking(image):
    """Whether the program lacks how this recipe fits images."""
    return image['fit'] == 'ratio' or image['resample'] != 'bilinear'


def refuses(program, folder):
    """An export that the program cannot fit images for: one line, status 2."""
    status, out, err = read(program, folder, 'x.png')
    print(f'{folder.name}: refused: {" ".join(err)}')
    return [] if status == 2 and not out and len(err) == 1 else [f'{folder}: status {status}, {out}, {err}']


def compare(program, folder, place):
    """The same texts and, nearly, confidences; the same files are refused."""
    manifest = json.loads((folder / 'manifest.json').read_text())
    if is_lacking(manifest['image']):
        return refuses(program, folder)
    maths = manifest['protocol'] == 'latex'
    good, bad = files(place / 'good', maths), broken(place / 'bad')
    ours, theirs = predicted(folder, [*bad, *good]), read(program, folder, *bad, *good)
    worst, found = 0.0, []
    for mine, other in zip(ours[1], theirs[1], strict=True):
        file, text, sure = mine.split('\t')[:3]  # the judgement of a formula is matplotlib's
        got = other.split('\t')
        off = round(abs(float(got[2]) - float(sure)), 3)
        worst = max(worst, off)
        if got[:2] != [file, text] or off > CLOSE:
            found.append(f'{mine}\n{other}')
    if ours[0] != 1 or theirs[0] != 1 or complaints(ours[2]) != complaints(theirs[2]):
        found.append('\n'.join(['complaints differ:', *ours[2], *theirs[2]]))
    texts = {line.split('\t')[1] for line in ours[1]}
    print(f'{folder.name}: {len(good)} images, {len(texts)} texts, confidences within {worst:.3f}, '
          f'{len(bad)} broken ones named')
    return found


def thumbnails(program, place):
    """Pillow's thumbnails, to the bit, of noise of many sizes."""
    random, found = np.random.default_rng(0), []
    place.mkdir()
    (place / 'model.onnx').touch()
    for _ in range(THUMBNAILS):
        height, width = (int(size) for size in random.integers(1, (300, 900)))
        config = recipe.base(name='')
        config.image.update(channels='grey', fit='thumbnail')
        config.image.height, config.image.width = (int(size) for size in random.integers(8, (80, 200)))
        rule = {**config.image.to_dict(), 'ink': ''}
        manifest = {'format': 'onnx', 'files': {'model.onnx': {'bytes': 0}}, 'image': rule, 'buckets': [],
                    'max_length': 1, 'capacity': 1, 'vocabulary': {'tokens': [], 'separator': ''}}
        (place / 'manifest.json').write_text(json.dumps(manifest))
        cv2.imwrite(str(place / 'noise.png'), random.integers(0, 256, (height, width), np.uint8))
        status, _, said = read(program, '--fit', place / 'canvas.png', place, place / 'noise.png')
        want = fit_image(read_image(place / 'noise.png'), config.image)[0][:, :, 0]
        if status or not np.array_equal(cv2.imread(str(place / 'canvas.png'), cv2.IMREAD_GRAYSCALE), want):
            found.append(f'{width} x {height} on {rule["width"]} x {rule["height"]} is not what Pillow makes '
                         f'of it {said}')
    print(f'{THUMBNAILS - len(found)} of {THUMBNAILS} thumbnails equal Pillow\'s to the bit')
    return found


def refusals(program, folder, place):
    """A folder that is no export, or damaged: one line, status 2."""
    place.mkdir()
    found, cut, wrong = [], place / 'cut', place / 'wrong'
    shutil.copytree(folder, cut)
    (cut / 'model.onnx').write_bytes((folder / 'model.onnx').read_bytes()[:-1])
    (place / 'manifest.json').write_text('{"format": "onnx"')
    shutil.copytree(folder, wrong)
    (wrong / 'model.onnx').write_bytes(bytes((folder / 'model.onnx').stat().st_size))
    for given in ((place / 'nothing', 'x.png'), (place, 'x.png'), (cut, 'x.png'), (wrong, 'x.png'), (folder,),
                  ('--version',)):
        status, out, err = read(program, *given)
        err = [line for line in err if line.startswith('recog_read: ')]  # OpenVINO has its own
        if status != 2 or out or len(err) != 1:
            found.append(f'{given}: status {status}, {err}')
        print('\n'.join(err))
    return found


def main(given):
    """Print what is compared; the status says whether all is equal."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ.setdefault('RECOG_CACHE', str(place / 'cache'))
        try:
            program = build(ROOT / 'build' / 'cpp')
        except NotRun as missing:
            print(f'NOT RUN: the C++ program was neither built nor compared: {missing}')
            return 0
        found = thumbnails(program, place / 'thumbnails')
        folders = [Path(folder).resolve() for folder in given] or narrow(place)
        for number, folder in enumerate(folders):
            (place / str(number)).mkdir()
            found += compare(program, folder, place / str(number))
        found += refusals(program, folders[0], place / 'refusals')
    print('\n'.join(found) or 'the C++ program reads as recog predict does')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
