"""Draws docs/pictures/reading.png: words and formulas drawn by recog, and what demos read in them.

    python docs/picture.py runs/demo runs/can

The images are the first of the demos' test sets, none chosen; what is wrong stands in red, with the truth.
"""

import sys
from pathlib import Path
from typing import Any

import recog
from recog.looks import sheets
from recog.text.latex import to_latex

ROWS = 8


def main(folders: list[str]) -> None:
    """Read the samples of each workdir and draw them, a column each."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(sheets.STYLE):
        figure = Figure(figsize=(7, 0.56 * ROWS), dpi=110, layout='constrained')
        for column, folder in zip(figure.subfigures(1, len(folders)), folders, strict=True):
            shown = samples(Path(folder))
            answers = recog.load(folder)([file for file, _ in shown])
            for cells, (file, truth), answer in zip(column.subplots(ROWS, 2), shown, answers, strict=True):
                cells[0].imshow(pixels(file), aspect='equal')
                cells[0].set_anchor('E')
                write(cells[1], answer.text, truth)
                for cell in cells:
                    cell.set_axis_off()
        out = Path(__file__).parent / 'pictures' / 'reading.png'
        figure.savefig(out)
    small(out)
    print(f'{out}: {out.stat().st_size / 1000:.0f} kB')


def samples(folder: Path) -> list[tuple[Path, str]]:
    """The first images of the test set, as training left them in the workdir, and their labels."""
    lines = (folder / 'samples' / 'labels.tsv').read_text(encoding='utf-8').splitlines()
    pairs = (line.split('\t') for line in lines[:ROWS])
    return [(folder / 'samples' / file, truth) for file, truth in pairs]


def pixels(file: Path) -> Any:
    """The image in RGB."""
    from PIL import Image

    return Image.open(file).convert('RGB')


def small(file: Path) -> None:
    """The picture in 200 colours, which look the same and take half the bytes."""
    from PIL import Image

    Image.open(file).convert('RGB').quantize(200).save(file, optimize=True)


def write(cell: Any, read: str, truth: str) -> None:
    """The text that was read, without the blanks between tokens; where it is wrong, the truth below."""
    texts = [to_latex(text.split()) if ' ' in text else text for text in (read, truth)]
    right = texts[0].lower() == texts[1].lower()
    style = {'va': 'center', 'family': 'monospace', 'transform': cell.transAxes, 'parse_math': False}
    cell.text(0, 0.5 if right else 0.72, texts[0], fontsize=12, color=sheets.GOOD if right else sheets.BAD,
              **style)
    if not right:
        cell.text(0, 0.18, f'is {texts[1]}', fontsize=9, color=sheets.FAINT, **style)


if __name__ == '__main__':
    main(sys.argv[1:])
