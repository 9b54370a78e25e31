"""Evaluation: every example of a set read once, judged under a protocol, and what is written of it."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import data, metrics, models, sharding, sources
from recog.config import ConfigError
from recog.text import Vocab

FEW = 10  # words from which on a result may be cause for concern


class Reading(NamedTuple):
    """What was read in one image; `text` is None where the image could not be used, and `reason` says why."""

    row: int
    text: str | None
    confidence: float = 0.0
    reason: str = ''


class Prediction(NamedTuple):
    """A line of predictions.tsv."""

    id: str
    set: str
    truth: str
    text: str
    confidence: float
    right: bool
    distance: int


class Result(NamedTuple):
    """What came of one set."""

    name: str
    figures: dict[str, float]  # count, right, accuracy, one_minus_ned, unreadable
    predictions: list[Prediction]
    unreadable: list[tuple[str, str]]  # id, reason


def decoder(model: models.Model, mesh: Mesh, beam: int = 1) -> Callable:
    """The compiled function (variables, batch, max_length) -> the best text's tokens and confidence, on every process."""
    def decode(variables, batch, max_length):
        out = model.decode(variables, batch['image'], batch['size'], max_length, beam=beam)
        return out['tokens'][:, 0], out['confidence'][:, 0], batch['index'], batch['weight']
    return jax.jit(decode, out_shardings=sharding.replicated(mesh))


def read(decode: Callable, variables: models.Variables, source: sources.Source, vocab: Vocab, config: ConfigDict, mesh: Mesh,
         *, batch: int, limit: int = 0) -> Iterator[Reading]:
    """Every example of the source once, in its order; the code of evaluation and prediction alike."""
    if config.image.width_rule == 'widest' and jax.process_count() > 1:
        raise ConfigError('config.image.width_rule=widest needs one process: each batch has a width of its own')
    count = min(len(source), limit or len(source))
    rows = sharding.rounded(mesh, min(batch, 1 << max(count - 1, 0).bit_length()))  # few images need no full batch
    steps = data.Steps(source, sharding.local_rows(mesh, rows), rows, config.image, limit)
    longest = np.int32(config.text.max_length)
    for arrays, notes in data.to_devices(data.stream(steps, config), sharding.batches(mesh), rows):
        reasons = {row: reason for part in sharding.gather(notes) for row, _, reason, _ in part}
        # Only what decode needs: the compiled function is the same for labelled and unlabelled images.
        wanted = {key: arrays[key] for key in ('image', 'size', 'index', 'weight')}
        for tokens, confidence, index, weight in zip(*jax.device_get(decode(variables, wanted, longest)), strict=True):
            if index >= 0:
                yield (Reading(int(index), vocab.decode(tokens.tolist()), float(confidence)) if weight else
                       Reading(int(index), None, reason=reasons[int(index)]))


def measure(decode: Callable, variables: models.Variables, source: sources.Source, vocab: Vocab, config: ConfigDict, mesh: Mesh,
            limit: int = 0, progress: bool = False) -> Result:
    """Read a set and judge it under the config's protocol; unreadable images are left out, counted and named."""
    from tqdm import tqdm

    readings = list(tqdm(read(decode, variables, source, vocab, config, mesh, batch=config.eval.batch, limit=limit),
                         desc=source.name, total=min(len(source), limit or len(source)), unit='image', leave=False,
                         disable=None if progress else True))
    labels = source.labels([reading.row for reading in readings])
    predictions, unreadable = [], []
    for reading, (name, truth) in zip(readings, labels, strict=True):
        if reading.text is None:
            unreadable.append((name, reading.reason))
            continue
        verdict = metrics.judge(truth, reading.text, config.eval.protocol)
        predictions.append(Prediction(name, source.name, truth, reading.text, reading.confidence, *verdict))
    figures = metrics.summary([p.truth for p in predictions], [p.text for p in predictions], config.eval.protocol)
    return Result(source.name, {**figures, 'unreadable': len(unreadable)}, predictions, unreadable)


def line(result: Result) -> str:
    """A result in words."""
    figures = result.figures
    low, high = _interval(result)
    unread = f', {figures["unreadable"]:.0f} unreadable left out' if figures['unreadable'] else ''
    return (f'{result.name}: {figures["accuracy"]:.2%} of {figures["count"]:.0f} words right '
            f'(95 % interval {low:.2%} to {high:.2%}), 1-NED {figures["one_minus_ned"]:.4f}{unread}')


def concerns(result: Result) -> list[str]:
    """What a person should know of a result, in words: nothing right, nothing read, or always the same."""
    texts = Counter(prediction.text for prediction in result.predictions)
    if len(result.predictions) < FEW:
        return []
    (text, times), found = texts.most_common(1)[0], []
    if not result.figures['right']:
        found.append(f'no word of {result.name} is right')
    if times > 0.9 * len(result.predictions) and len({each.truth for each in result.predictions}) > 1:
        found.append(f'{times / len(result.predictions):.0%} of the words of {result.name} are read as '
                     + (repr(text) if text else 'nothing (a collapse to blanks)'))
    return found


def _interval(result: Result) -> tuple[float, float]:
    return metrics.interval(int(result.figures['right']), int(result.figures['count']))


def table(results: list[Result], missing: list[str]) -> str:
    """The results as a Markdown table."""
    rows = ['| set | words | right | accuracy | 95 % interval | 1-NED | unreadable |', '|---|---|---|---|---|---|---|']
    for result in results:
        figures = result.figures
        low, high = _interval(result)
        rows.append(f'| {result.name} | {figures["count"]:.0f} | {figures["right"]:.0f} | {figures["accuracy"]:.2%} | '
                    f'{low:.2%} to {high:.2%} | {figures["one_minus_ned"]:.4f} | {figures["unreadable"]:.0f} |')
    rows += [f'| {name} | missing | | | | | |' for name in missing]
    return '\n'.join(rows)


def write(folder: Path, results: list[Result], missing: list[str], about: dict[str, Any]) -> None:
    """results.json, results.md and predictions.tsv of an evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    sets = {result.name: {**result.figures, 'interval': _interval(result), 'unreadable_images': result.unreadable}
            for result in results}
    (folder / 'results.json').write_text(json.dumps({**about, 'sets': sets, 'missing': missing}, indent=2) + '\n')
    facts = '\n'.join(f'- {name}: {value}' for name, value in about.items())
    (folder / 'results.md').write_text(f'{table(results, missing)}\n\n{facts}\n')
    with (folder / 'predictions.tsv').open('w', encoding='utf-8', newline='') as file:
        out = csv.writer(file, delimiter='\t', lineterminator='\n')
        out.writerow(Prediction._fields)
        for result in results:
            for each in result.predictions:
                words = {'confidence': f'{each.confidence:.4f}', 'right': 'right' if each.right else 'wrong'}
                out.writerow((each._asdict() | words).values())
