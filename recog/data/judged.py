"""How much of a set a recipe can use, judged by some of its rows before anything is compiled."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from recog.data import labels
from recog.data.batches import too_large
from recog.data.origin import DRAWN_BY
from recog.data.plan import Shape
from recog.data.rows import PackedSource, Source
from recog.errors import ConfigError
from recog.text.vocabulary import Vocab

ROWS = 300  # from all over the set
FEW = 50  # of which a set may have fewer without being judged


def check_usable(source: Source, vocab: Vocab, config: ConfigDict) -> None:
    """Refuse a set of whose rows more than `data.most_dropped` would be left out, with the reasons."""
    if len(source) < FEW:
        return
    places = np.unique(np.linspace(0, len(source) - 1, ROWS).astype(np.int64))
    reasons = Counter(filter(None, _reasons(source, places, vocab, config)))
    dropped = reasons.total()
    if dropped > config.data.most_dropped * len(places):
        why = ', '.join(f'{reason} {count}' for reason, count in reasons.most_common())
        raise ConfigError(f'{source.name}: of {len(places)} rows {dropped} cannot be used: {why}. See '
                          'config.text.max_length, charset and unknown, config.image.height and width; '
                          f'config.data.most_dropped={config.data.most_dropped} allows less')


def _reasons(source: Source, places: np.ndarray, vocab: Vocab, config: ConfigDict) -> Iterator[str]:
    """Why each of these rows cannot be used; '' of one that can."""
    if isinstance(source, PackedSource):
        for _, _, reason, _ in source.notes(places, source.codes(places)):
            yield '' if reason == labels.CHANGED else reason
        return
    image, longest = config.image, config.text.max_length
    if source.name.partition(':')[0] in DRAWN_BY:  # which draws what fits
        for _, text in source.labels(places.tolist()):
            yield labels.encode(vocab, text, longest).reason
        return
    largest = Shape(0, image.height, image.width, longest)
    for row in source.rows(places.tolist()):
        unfit = row.reason or too_large(row.image, largest, image)
        yield unfit or labels.encode(vocab, row.text, longest).reason
