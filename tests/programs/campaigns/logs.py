"""What a run leaves beside its checkpoints, damaged: log, results, predictions, rejected rows, descriptions.

Each is read as a report, a comparison, an evaluation and a training that goes on read it. One page in twenty
has its charts, which take most of a page's time.
"""

import contextlib
import json
import shutil
from pathlib import Path
from unittest import mock

import small
from mutations import mutated
from small import ROOT
from victim import Victim

TRIES = 600
FIXTURE = ROOT / 'tests' / 'fixtures' / 'recog-0.1.0-2bb25bb' / 'run'
FILES = ('metrics.jsonl', 'results.json', 'predictions.tsv', 'rejected.tsv', 'config.json', 'vocab.json')
VALUES = (None, True, -1, 0, 2, 0.5, 1 << 60, 10 ** 400, 1e308, float('nan'), float('inf'), '', 'x', '../x',
          'a\0b', '\ud800', 'words', [], [None], [['a']], {}, {'a': 1}, {'a': {'a': []}})


def page(folder, drawn):
    """The size of the page about a run, without a model, and perhaps without charts."""
    import jax

    from recog.looks import charts, markup
    from recog.report import record, report
    from recog.workdir.description import read_config

    place = Path(folder)
    found = record.read(place, 'run', read_config(place))
    with contextlib.ExitStack() as patched:
        if not drawn:
            patched.enter_context(mock.patch.object(charts.Album, 'chart', lambda *_, **__: markup.Html('')))
        report.write(place / 'report.html', found, None, 'No model.', place / 'nowhere', jax.devices())
    return (place / 'report.html').stat().st_size


def compared(folder, other):
    """The size of the tables of two runs."""
    from recog.evaluation import compare

    return len(compare.report([Path(folder), Path(other)]))


def added(folder):
    """What an evaluation that is added to the results of a run says."""
    from recog.evaluation.results import Prediction, Result
    from recog.evaluation.write import write_results
    from recog.metrics.words import word_figures

    figures = {**word_figures(['a'], ['a'], '36'), 'unreadable': 0}
    result = Result('more', figures, [Prediction('0', 'more', 'a', 'a', 1.0, True, 0)], [], [])
    return write_results(Path(folder), [result], [], {'protocol': '36', 'seed': 0, 'step': 4, 'beam': 1})


def gone_on(folder):
    """The lines of the log of a run that goes on at its step 4, with its description and rejected rows."""
    from recog.train.log import Log, Rejections
    from recog.workdir.description import read_config, read_vocab

    place = Path(folder)
    read_config(place)
    read_vocab(place)
    log = Log(place, 4, 8, first=True, tensorboard=False)
    log.write(5, {'loss': 1.0}, 'a line')
    log.close()
    Rejections(place, 0, {}).add(3, [(1, 'a', 'too long', 'text'), (99, 'b', 'too long', 'text')])
    return (place / 'metrics.jsonl').read_text().count('\n')


def make(folder):
    """A run of words that was measured in two ways, without checkpoints."""
    from recog.config import experiments
    from recog.evaluation.results import Prediction, Result
    from recog.evaluation.write import write_results
    from recog.metrics.words import word_figures
    from recog.text import vocabulary
    from recog.workdir import description

    config = experiments.load(small.DEMO, small.NARROW)
    description.write(folder, config, vocabulary.from_config(config.text))
    texts = [(f'wörd "{number}"', f'w0rd "{number % 7}"') for number in range(40)]
    for name, beam, own in (('iiit5k', 1, True), ('words', 1, False), ('words', 5, False)):
        figures = {**word_figures(*zip(*texts, strict=True), '36'), 'unreadable': 1}
        read = [Prediction(str(number), name, *pair, 0.5, pair[0] == pair[1], 2)
                for number, pair in enumerate(texts)]
        result = Result(name, figures, read, [('7', 'is broken')], [], {f'{name}-50': figures})
        write_results(folder, [result], ['svt'], {'protocol': '36', 'seed': 0, 'step': 4, 'beam': beam}, own)
    lines = [{'step': step, 'loss': 9.0 / step, 'rate': 0.1, 'images_per_second': 5.0, 'seconds': step,
              **({'words/accuracy': 0.5} if step % 4 == 0 else {})} for step in range(1, 9)]
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    (folder / 'rejected.tsv').write_text('row\treason\tid\ttext\n1\ttoo long\ta\ttext\n')


def altered(value, dice):
    """JSON of which some part, however deep, is something else."""
    if not isinstance(value, dict | list) or not value or dice.random() < 0.15:
        return dice.choice(VALUES)
    key = dice.choice([*value] if isinstance(value, dict) else range(len(value)))
    changed = dict(value) if isinstance(value, dict) else list(value)
    if dice.random() < 0.1:
        del changed[key]
    else:
        changed[key] = altered(changed[key], dice)
    return changed


def damaged(file, dice):
    """What a file holds once it is damaged: bytes changed, or JSON of another form."""
    content = file.read_bytes()
    if file.suffix == '.json' and dice.random() < 0.7:
        return json.dumps(altered(json.loads(content), dice)).encode()
    if file.suffix == '.jsonl' and dice.random() < 0.5:
        lines = content.decode().splitlines()
        place = dice.randrange(len(lines))
        lines[place] = json.dumps(altered(json.loads(lines[place]), dice))
        return '\n'.join(lines).encode()
    return mutated(content, dice)


def run(folder, dice, tries):
    """A damaged file each, read in one of the ways."""
    make(folder / 'words')
    whole = [folder / 'words', FIXTURE]
    with contextlib.ExitStack() as closing:
        victims = {name: closing.enter_context(Victim(f'campaigns.logs:{name}', space=1 << 36, patience=30))
                   for name in ('page', 'compared', 'added', 'gone_on')}
        for number in range(tries):
            source, name = dice.choice((*whole, folder / 'words')), dice.choice([*victims])
            place = shutil.copytree(source, folder / 'run', ignore=shutil.ignore_patterns('checkpoints'))
            file = place / dice.choice([each for each in FILES if (place / each).is_file()])
            file.write_bytes(damaged(file, dice))
            more = {'page': [number % 20 == 0], 'compared': [str(source)]}.get(name, [])
            yield victims[name].attempt(f'{number}: {name} {source.name}/{file.name}', str(place), *more)
            shutil.rmtree(place)
