"""Image files that are made to cost, and sound ones of every format with changed bytes."""

import random

import hostile_images as hostile
import numpy as np
from mutations import mutated
from PIL import Image
from victim import Victim

TRIES = 3000
COSTLY = {
    'two dots': lambda: hostile.dots(4000), 'two dots, smaller': lambda: hostile.dots(2000),
    'a profile that Pillow refuses': lambda: hostile.profiled(4000, 4000),
    'filling bytes': lambda: hostile.filled(10_000_000), 'markers': lambda: hostile.marked(2_500_000),
    'chunks': lambda: hostile.chunked(830_000),
    'chunks, transparent': lambda: hostile.chunked(830_000, 'RGBA'),
    'chunks within the limit': lambda: hostile.chunked(49_000, 'RGBA'),
    'a hundred scans': lambda: hostile.progressive(4000, 100),
    'twenty thousand scans': lambda: hostile.progressive(4000, 20_000),
    'scans, 10 MB': lambda: hostile.progressive(1000, 318_000),
    'no photograph': lambda: hostile.clouds(4000), '64 million white pixels': lambda: hostile.blank(8000),
    '16 bits': lambda: hostile.deep(4000), 'comments': lambda: hostile.commented(5_000_000),
    'an odd white': lambda: hostile.odd_white(3000), 'comments in a GIF': lambda: hostile.blocks(2_000_000),
    'strips': lambda: hostile.strips(1_000_000), 'strips within the limit': lambda: hostile.strips(60_000),
    'runs': lambda: hostile.runs(2200),
}
FORMS = ('jpeg', 'png', 'gif', 'bmp', 'tiff', 'webp', 'ppm')


def read(*files):
    """The sizes to which images are brought, as `recog predict` brings them to a model of formulas."""
    from recog.config import recipe
    from recog.data.batches import Steps
    from recog.data.files import Files
    from recog.images.read import read_image
    from recog.reading.adapt import Adapted

    config = recipe.base()
    config.image.update(fit='none', height=256, width=1024, ink='light', symbol=28.0, channels='grey')
    if len(files) == 1:
        read_image(files[0])  # says what is wrong
    source = Adapted(Files('images', files), config.image, 'auto')
    steps = Steps(source, np.arange, len(files), config, 0)
    return [steps[number]['size'].tolist() for number in range(len(steps))]


def sound(dice: random.Random):
    """Small images of all formats and modes."""
    noise = Image.fromarray(np.frombuffer(dice.randbytes(24 * 40 * 3), np.uint8).reshape(24, 40, 3))
    smooth = noise.resize((5, 3)).resize((40, 24))
    for form in FORMS:
        yield hostile.encoded(smooth, form)
        yield hostile.encoded(noise, form)
    yield hostile.encoded(smooth, 'jpeg', progressive=True)
    yield hostile.encoded(smooth.convert('CMYK'), 'jpeg')
    for mode in ('RGBA', 'LA', 'P', 'L', '1', 'I;16'):
        yield hostile.encoded(smooth.convert('L' if mode == 'I;16' else mode).convert(mode), 'png')
        yield hostile.encoded(smooth.convert('L' if mode == 'I;16' else mode).convert(mode), 'tiff')
    yield hostile.deep(12)
    yield hostile.encoded(smooth, 'tiff', compression='tiff_lzw')
    yield hostile.encoded(smooth, 'tiff', compression='jpeg')
    yield hostile.profiled(12, 12, 2000)


def run(folder, dice, tries):
    """Each costly file once, twelve large ones together, then changed bytes."""
    file = folder / 'image'
    with Victim('campaigns.images:read') as victim:
        for name, make in COSTLY.items():
            file.write_bytes(make())
            yield victim.attempt(name, str(file))
        file.write_bytes(hostile.blank(8000))
        with Victim('campaigns.images:read', patience=60) as patient:  # memory is the question
            yield patient.attempt('twelve large ones', *[str(file)] * 12)
        whole = list(sound(dice))
        for number in range(tries):
            content = mutated(dice.choice(whole), dice)
            file.write_bytes(content)
            outcome = victim.attempt(f'mutation {number}', str(file))
            yield outcome if outcome.good else outcome._replace(said=f'{outcome.said} {content[:300]!r}')
