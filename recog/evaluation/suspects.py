"""Labels that may be wrong: examples that a model surely reads otherwise."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from recog.evaluation.results import Prediction
from recog.text.lines import in_line

LARGEST = 1 - 1e-6  # confidence: nothing is certain


class Suspect(NamedTuple):
    """A line of suspects.tsv."""

    rank: int
    disagreement: float
    confidence: float
    distance: int
    id: str
    set: str
    truth: str
    text: str


def disagreement(confidence: float, edits: int) -> float:
    """How confidently a text disagrees with its label: the edits between them times the odds of the text.

    The odds alone find labels with a single wrong character as well, but fewer that are another word's.
    """
    return edits * confidence / (1 - min(confidence, LARGEST))


def ranked(predictions: Iterable[Prediction]) -> list[Suspect]:
    """The examples that are read otherwise, by their disagreement."""
    found = [(disagreement(each.confidence, each.distance), each) for each in predictions
             if not each.right and not math.isnan(each.confidence)]
    found.sort(key=lambda pair: -pair[0])
    return [Suspect(rank, apart, each.confidence, each.distance, each.id, each.set, each.truth, each.text)
            for rank, (apart, each) in enumerate(found, 1)]


def as_tsv(suspects: Sequence[Suspect]) -> str:
    """The file, with a line for each of them."""
    with io.StringIO(newline='') as file:
        out = csv.writer(file, delimiter='\t', lineterminator='\n')
        out.writerow(Suspect._fields)
        for each in suspects:
            words = {'id': in_line(each.id), 'disagreement': f'{each.disagreement:.4g}',
                     'confidence': f'{each.confidence:.4f}'}
            out.writerow((each._asdict() | words).values())
        return file.getvalue()
