"""How fine-tuning goes with the number of own words, and what thirty examples of a new character do.

    python tests/programs/own_words.py --data data --set mine --from runs/words --old iiit5k:test

For each of --counts it trains the variant `finetune` from --from on so many rows of SET:train, and measures
SET:validation and the --old sets before and after. With --plain each is trained once more without replay and
at the whole rate. --character C (by default the most frequent one of the labels that the start does not know)
is added by thirty examples of it; where the set has too few, they are drawn from the start's list of words.
The points that each set gains are drawn in curve.png. What follows `--` are overrides of all trainings.
"""

import argparse
import collections
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from recog.data.sets import open_set
from recog.evaluation.before import table
from recog.looks import charts
from recog.workdir.description import read_config, read_vocab

ROOT = Path(__file__).parents[2]
SEED, EXAMPLES, ASKED = 0, 30, 300  # 300 drawn words measure a new character
PLAIN = ('--config.data.weights=()', '--config.optimizer.taken=1.0', '--config.optimizer.rate=2e-4')


def rows(source, numbers):
    """The rows at these places whose images can be read."""
    return [row for row in source.rows(numbers) if row.image is not None]


def write(folder, chosen):
    """A set of these rows, as a folder with labels.tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, row in enumerate(chosen):
        cv2.imwrite(str(folder / f'{number}.png'), row.image)
        lines.append(f'{number}.png\t{row.text}\n')
    (folder / 'labels.tsv').write_text(''.join(lines), encoding='utf-8')


def tune(arguments, config, data, name, train, measured, extra=()):
    """Fine-tune on a set and return the rows of the table of before and after."""
    workdir, recipe = arguments.out / name, f'{ROOT}/experiments/{config.model.name}.py:finetune'
    replay = () if extra[:1] == PLAIN[:1] else (arguments.replay,)
    line = [sys.executable, '-m', 'recog', 'train', '--config', recipe, '--workdir', str(workdir),
            '--data', str(data), f'--config.init={arguments.start.resolve()}',
            f'--config.data.train={",".join((train, *replay))}',
            f'--config.eval.sets={measured}', f'--config.eval.report={",".join((measured, *arguments.old))}',
            *extra, *arguments.overrides]
    print(' '.join(line), flush=True)
    subprocess.run(line, cwd=ROOT, check=True)
    return json.loads((workdir / 'before.json').read_text())['sets']


def new_character(labels, known, wanted):
    """The character to add, or '' if the labels have none that is new."""
    counted = collections.Counter(char for text in labels for char in text if char not in known)
    return wanted or (counted.most_common(1)[0][0] if counted else '')


def drawn(config, char, known, folder, split, count):
    """So many drawn words that have the character, and else known ones, of the list of the start."""
    lists = [Path(each).read_text(encoding='utf-8') for each in config.render.words.split(',')]
    words = sorted({word for each in lists for word in each.splitlines() if char in word.lower()})
    listed = folder / 'words.txt'
    listed.write_text('\n'.join(words), encoding='utf-8')
    recipe = config.copy_and_resolve_references()
    with recipe.unlocked():
        recipe.render.update(words=str(listed), codes=0.0)
    source = open_set(f'rendered:{split}', recipe, folder)
    holding = [number for number, (_, text) in enumerate(source.labels(range(9 * count)))
               if char in text and known.issuperset(text)]
    return rows(source, holding[:count])


def add_character(arguments, config, data, source, labels):
    """Add a character by thirty examples; returns it and the rows of its table."""
    vocab = read_vocab(arguments.start.resolve())
    folded = [text.lower() if vocab.case == 'lower' else text for text in labels]
    char = new_character(folded, vocab.tokens, arguments.character)
    holding = [place for place, text in enumerate(folded) if char and char in text]
    place = data / 'character'
    place.mkdir(exist_ok=True)
    if len(holding) >= 2 * EXAMPLES:
        shown, asked = rows(source, holding[:EXAMPLES]), rows(source, holding[EXAMPLES:])
    elif char and config.render.words:
        shown, asked = (drawn(config, char, {*vocab.tokens, char}, place, split, count)
                        for split, count in (('train', EXAMPLES), ('test', ASKED)))
    else:
        print(f'no new character: {len(holding)} words have {char!r}, {2 * EXAMPLES} are needed')
        return char, []
    write(place / 'train', shown)
    write(place / 'validation', asked)
    (place / 'characters.txt').write_text('\n'.join((*vocab.tokens, char)), encoding='utf-8')
    return char, tune(arguments, config, data, 'character', 'character:train', 'character:validation',
                      (f'--config.text.charset={(place / "characters.txt").resolve()}',))


def draw(found, path):
    """The points that each set gains by the number of own words."""
    import matplotlib

    gained = collections.defaultdict(list)
    for name, sets in found.items():
        for each in sets if name.isdigit() else ():
            gained[each['set']].append((int(name), 100 * (each['after'] - each['before'])))
    with matplotlib.rc_context(charts.STYLE | {'figure.facecolor': 'white', 'savefig.facecolor': 'white'}):
        drawn = charts.figure(5.4, 3.1)
        cell = drawn.subplots()
        for (name, points), colour, mark in zip(gained.items(), charts.COLOURS, charts.MARKS, strict=False):
            cell.plot(*zip(*points, strict=True), color=colour, marker=mark, linewidth=1.4, label=name)
        cell.axhline(0, color=charts.GREY, linewidth=1)
        cell.set(xlabel='own words', ylabel='points gained', xscale='log')
        charts.plain_numbers(cell.xaxis, *cell.get_xlim())
        charts.grid(cell)
        charts.legend(drawn, len(gained))
        drawn.savefig(path, dpi=160)


def main():
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument('--data', type=Path, required=True, help='root of prepared sets')
    own.add_argument('--set', default='mine', help='a set with the splits train and validation')
    own.add_argument('--from', dest='start', type=Path, required=True, metavar='FOLDER',
                     help='a workdir, or the folder of a reader')
    own.add_argument('--counts', default='200,1000,6725', help='numbers of own words')
    own.add_argument('--old', action='append', default=[], help='an old set to measure (default: drawn ones)')
    own.add_argument('--character', default='')
    own.add_argument('--plain', action='store_true', help='also without replay and at the whole rate')
    own.add_argument('--out', type=Path, default=Path('own_words'))
    own.add_argument('overrides', nargs='*')
    arguments = own.parse_args()
    config = read_config(arguments.start.resolve())
    drawn = 'formulas' if config.eval.protocol == 'latex' else 'rendered'
    arguments.replay, arguments.old = f'{drawn}:train', arguments.old or [f'{drawn}:validation']
    arguments.out = arguments.out.resolve()
    data = arguments.out / 'data'
    data.mkdir(parents=True, exist_ok=True)
    for place in arguments.data.resolve().iterdir():
        if not (data / place.name).exists():
            (data / place.name).symlink_to(place)
    source = open_set(f'{arguments.set}:train', config, arguments.data)
    labels = [text for _, text in source.labels(range(len(source)))]
    order = np.random.default_rng(SEED).permutation(len(source))
    found = {}
    for count in map(int, filter(None, arguments.counts.split(','))):
        write(data / f'own{count}' / 'train', rows(source, order[:count].tolist()))
        for extra in ((), PLAIN)[:1 + arguments.plain]:
            name = f'{count}{"-plain" if extra else ""}'
            found[name] = tune(arguments, config, data, name, f'own{count}:train',
                               f'{arguments.set}:validation', extra)
            (arguments.out / 'curve.json').write_text(json.dumps(found, indent=1) + '\n')
    char, added = add_character(arguments, config, data, source, labels)
    if added:
        found[f'character {char}'] = added
    (arguments.out / 'curve.json').write_text(json.dumps(found, indent=1) + '\n')
    for name, sets in found.items():
        print(f'\n{name} words\n\n{table(sets)}')
    if any(name.isdigit() for name in found):
        draw(found, arguments.out / 'curve.png')


if __name__ == '__main__':
    main()
