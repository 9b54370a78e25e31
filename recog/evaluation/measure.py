"""Measures a set: every example is read once and judged under a protocol,
and the result is summed up in a line."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import models
from recog.data.rows import Source
from recog.data.sets import ENDLESS, open_set
from recog.errors import ConfigError
from recog.evaluation.lexicons import constrained, word_lists
from recog.evaluation.results import Prediction, Result, interval
from recog.metrics.calibration import calibration_figures
from recog.metrics.formulas import formula_figures, normal_forms
from recog.metrics.words import judge, protocol_id, word_figures
from recog.reading.compiled import Compiled
from recog.reading.read import Reading, read_source
from recog.text.lexicon import Lexicon
from recog.text.vocabulary import Vocab

FEW = 10  # words from which a result may be cause for concern


def measure_set(decode: Callable, variables: models.Variables, source: Source, vocab: Vocab,
                config: ConfigDict, mesh: Mesh, limit: int = 0, progress: bool = False,
                known: Collection[str] = (), temperature: float = 1.0,
                lexicon: Lexicon | None = None) -> Result:
    """Read a set and judge it under the config's protocol; unreadable images are left out, counted and named.

    `known` are the formulas of the training (see `trained`): the accuracy of all others is given, too.
    """
    from tqdm import tqdm

    engine = Compiled(decode, variables, mesh)
    read = read_source(engine, source, vocab, config, batch=config.eval.batch, limit=limit,
                       temperature=temperature, lexicon=lexicon, best=1)
    readings = list(tqdm(read, desc=source.name, total=min(len(source), limit or len(source)), unit='image',
                         leave=False, disable=None if progress else True))
    return _judged(source, readings, protocol_id(config.eval.protocol, config.eval.nfkd), known)


def _judged(source: Source, readings: Sequence[Reading], protocol: str, known: Collection[str]) -> Result:
    """The result of a set from what was read of its examples."""
    labels = source.labels([reading.row for reading in readings])
    predictions, unreadable, shrunk = [], [], []
    for reading, (name, truth) in zip(readings, labels, strict=True):
        if reading.text is None:
            unreadable.append((name, reading.reason))
            continue
        if reading.reason:
            shrunk.append((name, reading.reason))
        verdict = judge(truth, reading.text, protocol)
        predictions.append(Prediction(name, source.name, truth, reading.text, reading.confidence, *verdict,
                                      reading.score, reading.mean_token))
    truths, texts = [each.truth for each in predictions], [each.text for each in predictions]
    figures = word_figures(truths, texts, protocol)
    if protocol == 'latex':
        figures |= formula_figures(truths, texts, known)
    lists = word_lists(source, [reading.row for reading in readings if reading.text is not None])
    lexicons = {name: word_figures(truths, constrained(texts, words, protocol), protocol)
                for name, words in lists.items()}
    figures |= calibration_figures([each.confidence for each in predictions],
                                   [each.right for each in predictions])
    figures |= {'unreadable': len(unreadable)}
    return Result(source.name, figures, predictions, unreadable, shrunk, lexicons)


def trained(config: ConfigDict, root: str | Path) -> frozenset[str]:
    """The formulas of the training sets; none where a set is not there or is drawn without end."""
    found: set[str] = set()
    for name in config.data.train:
        if name.partition(':')[0] in ENDLESS:
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
    return (f'{result.name}: {figures["accuracy"]:.2%} of {figures["count"]:,.0f} {_things(result)} right '
            f'({low:.2%} to {high:.2%}), 1-NED {figures["one_minus_ned"]:.4f}{unread}')


def concerns(result: Result) -> list[str]:
    """Warnings about a result, in words: nothing right, nothing read, or always the same."""
    texts = Counter(prediction.text for prediction in result.predictions)
    if len(result.predictions) < FEW:
        return []
    (text, times), found = texts.most_common(1)[0], []
    if not result.figures['right']:
        found.append(f'no {_things(result)[:-1]} of {result.name} is right')
    if times > 0.9 * len(result.predictions) and len({each.truth for each in result.predictions}) > 1:
        shown = repr(text) if text else 'nothing (a collapse to blanks)'
        found.append(f'{times / len(result.predictions):.0%} of the {_things(result)} of {result.name} '
                     f'are read as {shown}')
    return found


def _things(result: Result) -> str:
    return 'formulas' if 'within_1' in result.figures else 'words'
