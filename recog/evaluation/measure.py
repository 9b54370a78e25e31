"""Evaluation: every example of a set read once, judged under a protocol, and what is written of it."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import models
from recog.data.rows import Source
from recog.data.sets import DRAWN, open_set
from recog.errors import ConfigError
from recog.evaluation.lexicons import constrained, word_lists
from recog.evaluation.results import Prediction, Result, as_csv, document, findings, interval, sections
from recog.metrics.formulas import formula_figures, normal_forms
from recog.metrics.words import judge, protocol_id, word_figures
from recog.reading.compiled import Compiled
from recog.reading.read import read_source
from recog.text.vocabulary import Vocab

FEW = 10  # words from which on a result may be cause for concern


def measure_set(decode: Callable, variables: models.Variables, source: Source, vocab: Vocab, config: ConfigDict, mesh: Mesh,
                limit: int = 0, progress: bool = False, known: Collection[str] = ()) -> Result:
    """Read a set and judge it under the config's protocol; unreadable images are left out, counted and named.

    `known` are the formulas of the training (see `trained`): what is right of those that do not stand there is told apart.
    """
    from tqdm import tqdm

    engine = Compiled(decode, variables, mesh)
    readings = list(tqdm(read_source(engine, source, vocab, config, batch=config.eval.batch, limit=limit), desc=source.name,
                         total=min(len(source), limit or len(source)), unit='image', leave=False,
                         disable=None if progress else True))
    labels = source.labels([reading.row for reading in readings])
    protocol = protocol_id(config.eval.protocol, config.eval.nfkd)
    predictions, unreadable, shrunk = [], [], []
    for reading, (name, truth) in zip(readings, labels, strict=True):
        if reading.text is None:
            unreadable.append((name, reading.reason))
            continue
        if reading.reason:
            shrunk.append((name, reading.reason))
        verdict = judge(truth, reading.text, protocol)
        predictions.append(Prediction(name, source.name, truth, reading.text, reading.confidence, *verdict))
    truths, texts = [p.truth for p in predictions], [p.text for p in predictions]
    figures = word_figures(truths, texts, protocol)
    if protocol == 'latex':
        figures |= formula_figures(truths, texts, known)
    given = word_lists(source, [reading.row for reading in readings if reading.text is not None])
    lexicons = {name: word_figures(truths, constrained(texts, words, protocol), protocol)
                for name, words in given.items()}
    return Result(source.name, {**figures, 'unreadable': len(unreadable)}, predictions, unreadable, shrunk, lexicons)


def trained(config: ConfigDict, root: str | Path) -> frozenset[str]:
    """The formulas that stand in the training sets, for `measure`; none where a set is not there or is drawn without end."""
    found: set[str] = set()
    for name in config.data.train:
        if name.partition(':')[0] in DRAWN:
            return frozenset()
        try:
            source = open_set(name, config, root)
        except ConfigError:  # evaluation does not need the training sets
            return frozenset()
        found.update(normal_forms(text for _, text in source.labels(range(len(source)))))
    return frozenset(found)


def line(result: Result) -> str:
    """A result in words."""
    figures = result.figures
    low, high = interval(figures)
    unread = f', {figures["unreadable"]:.0f} unreadable left out' if figures['unreadable'] else ''
    return (f'{result.name}: {figures["accuracy"]:.2%} of {figures["count"]:.0f} {_things(result)} right '
            f'(95 % interval {low:.2%} to {high:.2%}), 1-NED {figures["one_minus_ned"]:.4f}{unread}')


def concerns(result: Result) -> list[str]:
    """What a person should know of a result, in words: nothing right, nothing read, or always the same."""
    texts = Counter(prediction.text for prediction in result.predictions)
    if len(result.predictions) < FEW:
        return []
    (text, times), found = texts.most_common(1)[0], []
    if not result.figures['right']:
        found.append(f'no {_things(result)[:-1]} of {result.name} is right')
    if times > 0.9 * len(result.predictions) and len({each.truth for each in result.predictions}) > 1:
        found.append(f'{times / len(result.predictions):.0%} of the {_things(result)} of {result.name} are read as '
                     + (repr(text) if text else 'nothing (a collapse to blanks)'))
    return found


def _things(result: Result) -> str:
    return 'formulas' if 'within_1' in result.figures else 'words'


def write(folder: Path, results: list[Result], missing: list[str], about: dict[str, Any]) -> str:
    """results.json, results.csv, results.md and predictions.tsv of an evaluation; returns what to print of it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = findings(results, missing, about)
    said, facts = sections(found), '\n'.join(f'- {name}: {value}' for name, value in about.items())
    (folder / 'results.json').write_text(json.dumps(document(found), indent=2) + '\n', encoding='utf-8')
    (folder / 'results.csv').write_text(as_csv(found), encoding='utf-8')
    (folder / 'results.md').write_text(f'{said}\n\n## Where this comes from\n\n{facts}\n', encoding='utf-8')
    with (folder / 'predictions.tsv').open('w', encoding='utf-8', newline='') as file:
        out = csv.writer(file, delimiter='\t', lineterminator='\n')
        out.writerow(Prediction._fields)
        for result in results:
            for each in result.predictions:
                words = {'confidence': f'{each.confidence:.4f}', 'right': 'right' if each.right else 'wrong'}
                out.writerow((each._asdict() | words).values())
    return said
