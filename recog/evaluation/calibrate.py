"""Fits the temperature of a model's confidences on validation: how wrong they are before and after, what is
kept at a threshold, and all this in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import __version__
from recog.data.rows import Source
from recog.errors import ConfigError
from recog.evaluation import markdown, measure
from recog.evaluation.results import Prediction
from recog.metrics import calibration as metrics
from recog.metrics.calibration import calibration_error, fitted_temperature, likelihood_loss, tempered
from recog.metrics.words import protocol_id
from recog.reading.compiled import searching
from recog.workdir.calibration import BOUNDS
from recog.workdir.opened import Opened

KEPT_HEADS = ('confidence at least', 'kept', 'of all', 'right of these')
SEED = 0  # of how the answers are parted into halves


def calibrated(opened: Opened, sources: Sequence[Source], config: ConfigDict, mesh: Mesh) -> dict[str, Any]:
    """The record of a temperature that is fitted to what the model reads in these sets."""
    decode, lexicon = searching(opened, mesh, config.eval.beam)
    read = [each for source in sources for each in measure.measure_set(
        decode, opened.variables, source, opened.vocab, config, mesh,
        progress=jax.process_index() == 0, lexicon=lexicon).predictions]
    return {'sets': [source.name for source in sources], 'step': opened.step,
            'protocol': protocol_id(config.eval.protocol, config.eval.nfkd), 'beam': config.eval.beam,
            'recog': __version__, **fitted(read)}


def fitted(read: Sequence[Prediction]) -> dict[str, Any]:
    """The temperature of these answers, with its figures.

    `held_out` is the error of the answers of each half at the temperature of the other half.
    """
    scores, rights = np.array([each.score for each in read]), np.array([each.right for each in read], bool)
    right = int(rights.sum())
    if right in (0, len(rights)):
        what = 'none' if not right else 'all'
        raise ConfigError(f'of {len(rights):,} answers {what} are right: a temperature needs right and wrong '
                          'ones; calibrate on more, or other, images')
    found = fitted_temperature(scores, rights, BOUNDS)
    halves = np.random.default_rng(SEED).permutation(len(rights)) % 2 == 0
    apart = np.empty(len(rights))
    for half in (halves, ~halves):
        other = fitted_temperature(scores[~half], rights[~half], BOUNDS)
        apart[half] = [tempered(score, other) for score in scores[half]]
    sure = [tempered(score, found) for score in scores]
    return {'temperature': found, 'count': len(rights), 'right': right,
            'before': _errors(scores, rights, 1.0), 'after': _errors(scores, rights, found),
            'held_out': calibration_error(apart.tolist(), rights.tolist()),
            'kept': [list(row) for row in metrics.kept(sure, rights.tolist())]}


def _errors(scores: np.ndarray, rights: np.ndarray, temperature: float) -> dict[str, float]:
    sure = [tempered(score, temperature) for score in scores]
    return {'ece': calibration_error(sure, rights.tolist()),
            'nll': likelihood_loss(scores.tolist(), rights.tolist(), temperature)}


def described(record: Mapping[str, Any]) -> str:
    """A record in Markdown: the errors before and after, and what is kept at each threshold."""
    before, after = record['before'], record['after']
    return '\n\n'.join([
        f'Temperature {record["temperature"]:.3f}, fitted to {record["count"]:,} answers in '
        f'{", ".join(record["sets"])} (protocol {record["protocol"]}, beam {record["beam"]}), of which '
        f'{record["right"]:,} are right.',
        markdown.table(['', 'before', 'after'], [
            ['expected calibration error', f'{before["ece"]:.4f}', f'{after["ece"]:.4f}'],
            ['of each half, fitted to the other', '', f'{record["held_out"]:.4f}'],
            ['negative log-likelihood', f'{before["nll"]:.4f}', f'{after["nll"]:.4f}']]),
        markdown.table(KEPT_HEADS, kept_rows(record['kept']))])


def kept_rows(rows: Sequence[Sequence[float]]) -> list[list[str]]:
    """The rows of what is kept at each threshold; the first is of all answers."""
    total = max(rows[0][1], 1) if rows else 1
    return [[f'{least:g}', f'{kept:,.0f}', f'{kept / total:.2%}', f'{right / kept:.2%}' if kept else '-']
            for least, kept, right in rows]
