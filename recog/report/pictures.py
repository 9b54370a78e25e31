"""Pictures: the curves of a run, sample words with what was read, and words as augmentation changes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from recog.config import recipe, values
from recog.data.files import find_images
from recog.data.rows import Source
from recog.errors import ConfigError
from recog.evaluation.results import Result
from recog.images import augment
from recog.images.fit import fit_image
from recog.images.read import Unreadable, read_image
from recog.workdir import files

RIGHT, WRONG, INK = '#2a7f4f', '#b3261e', '#1f4e79'
MOST_ROWS = 100  # of the picture of augmentations
SHOWN, KEPT = 32, 8  # sample words in the picture, and as files


def curves(workdir: Path) -> list[Path]:
    """loss.png and loss.svg from metrics.jsonl: the loss and each set's accuracy over the steps."""
    from matplotlib.figure import Figure

    lines = files.read_log(workdir)
    losses = [(line['step'], line['loss']) for line in lines if 'loss' in line]
    accuracies: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name.endswith('/accuracy'):
                accuracies.setdefault(name.removesuffix('/accuracy'), []).append((line['step'], value))
    figure = Figure(figsize=(7, 4), layout='constrained')
    left = figure.subplots()
    left.plot(*zip(*losses, strict=True), color=INK, label='loss')
    left.set(xlabel='step', ylabel='loss', yscale='log' if min(loss for _, loss in losses) > 0 else 'linear')
    left.spines[['top']].set_visible(False)
    if accuracies:
        right = left.twinx()
        right.set(ylabel='word accuracy', ylim=(0, 1.02))
        right.spines[['top']].set_visible(False)
        for (name, points), mark in zip(accuracies.items(), 'os^Dv<>ph*' * len(accuracies), strict=False):
            right.plot(*zip(*points, strict=True), color=RIGHT, marker=mark, label=name)
        figure.legend(loc='outside upper center', ncols=1 + len(accuracies), frameon=False)
    return _save(figure, workdir / 'loss', ('png', 'svg'))


def sheet(words: Sequence[np.ndarray], truths: Sequence[str], texts: Sequence[str], rights: Sequence[bool],
          file: Path, columns: int = 4) -> Path:
    """Images of words, each with what was read; mistakes are in red, with the truth beside them."""
    from matplotlib.figure import Figure

    rows = -(-len(words) // columns)
    figure = Figure(figsize=(2.6 * columns, 0.95 * rows), layout='constrained')
    cells = np.atleast_1d(figure.subplots(rows, columns)).reshape(-1)
    for cell in cells:
        cell.set_axis_off()
    for cell, image, truth, text, right in zip(cells, words, truths, texts, rights, strict=False):
        has_colours = image.ndim == 3 and image.shape[2] == 3
        cell.imshow(image[:, :, ::-1] if has_colours else image, cmap='gray', aspect='equal')
        said = text if right else f'{text or "(nothing)"}  [{truth}]'
        cell.set_title(said.replace('$', r'\$'), fontsize=9, color=RIGHT if right else WRONG,
                       family='monospace')
    return _save(figure, file.with_suffix(''), ('png',))[0]


def samples(workdir: Path, source: Source, result: Result) -> None:
    """samples.png, and the first few of its words as files with their labels."""
    import cv2

    count = min(SHOWN, len(result.predictions))
    rows = [row for row in source.rows(range(min(len(source), 2 * SHOWN))) if row.image is not None][:count]
    shown = result.predictions[:len(rows)]
    images = [row.image for row in rows if row.image is not None]
    sheet(images, [each.truth for each in shown], [each.text for each in shown],
          [each.right for each in shown], workdir / files.SAMPLES_SHEET)
    folder = workdir / files.SAMPLES
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images[:KEPT]):
        cv2.imwrite(str(folder / f'{number}.png'), image)
    labels = [f'{number}.png\t{row.text}\n' for number, row in enumerate(rows[:KEPT])]
    (folder / 'labels.tsv').write_text(''.join(labels), encoding='utf-8')


def show_augmentation(config: ConfigDict, names: Sequence[str], file: Path, every: bool = False) -> Path:
    """Draw image files as a recipe changes them in training or, with
    `every`, as each known augmentation does."""
    rule = config.image
    if every:
        plain = {f'augment.{name}': strength for name, strength in augment.PLAIN.items()}
        rule = recipe.changed(rule.copy_and_resolve_references(), {**plain, 'augment.probability': 0.5})
    elif not augment.augments(rule.augment):
        raise ConfigError('the recipe changes no image: config.image.augment is off; '
                          '--all shows every augmentation')
    images = find_images(names)
    if len(images) > MOST_ROWS:
        raise ConfigError(f'{len(images)} images are too many for one picture; at most {MOST_ROWS}')
    try:
        words = [read_image(each) for each in images]
    except Unreadable as error:
        raise ConfigError(f'image {error}') from None
    file.parent.mkdir(parents=True, exist_ok=True)
    return augmentations(words, rule, values.seed(config, 'augment'), file)


def augmentations(words: Sequence[np.ndarray], rule: ConfigDict, seed: int, file: Path,
                  together: int = 4) -> Path:
    """Words as fitted, by each augmentation of `config.image` alone at full strength, and as in training."""
    from PIL import Image, ImageDraw, ImageFont

    strengths = augment.switched_on(rule.augment)
    alone = [f'{name} {strength:g}' for name, strength in strengths.items()]
    columns = ['original', *alone, *['as in training'] * together]
    zoom = max(1, round(160 / rule.width))
    across, down, head, gap = zoom * rule.width, zoom * rule.height, 20, 6
    page = Image.new('RGB', (gap + len(columns) * (across + gap), head + len(words) * (down + gap)), 'white')
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for column, name in enumerate(columns):
        pen.text((gap + column * (across + gap), 2), name, 'black', font)
    for row, word in enumerate(words):
        word = fit_image(word, rule)[0] if rule.augment.on_canvas else word
        changed = [word]
        for name, strength in strengths.items():
            side = -1 if row % 2 and name in augment.SIGNED else 1  # show both directions
            changed.append(augment.change(word, augment.generator(seed, 0, row), {name: side * strength}))
        for epoch in range(together):
            changed.append(augment.augment(word, augment.generator(seed, epoch, row), rule.augment))
        for column, picture in enumerate(changed):
            if rule.augment.on_canvas:
                picture = augment.centred(picture, word.shape)
            pixels, (height, width) = fit_image(picture, rule)
            pixels = pixels[:height, :width, ::-1 if rule.channels == 'bgr' else 1]
            shown = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
            place = gap + column * (across + gap), head + row * (down + gap)
            page.paste(shown.resize((width * zoom, height * zoom), Image.Resampling.NEAREST), place)
    page.save(file)
    return file


def _save(figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    import matplotlib

    written = []
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'recog'}):
        for kind in formats:
            written.append(stem.with_suffix(f'.{kind}'))
            figure.savefig(written[-1], dpi=130, metadata={'Date': None} if kind == 'svg' else None)
    return written
