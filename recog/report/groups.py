"""Accuracy by what the examples are: known from training or not, how high, of digits or of letters."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from recog.data.sets import ENDLESS, open_set
from recog.errors import ConfigError
from recog.looks.charts import Album
from recog.looks.markup import Html, Section, element, paragraph, table
from recog.metrics.formulas import normal_forms
from recog.metrics.words import canonical, wilson_interval
from recog.report import charts
from recog.report.gallery import Gallery
from recog.report.record import Judged, Record
from recog.report.sections import NO_RESULTS
from recog.report.tallies import Bin, tallied

MOST_LABELS = 300_000  # of training sets that are read for the page
MEASURED = 1_000  # images whose height is taken, spread over the examples
HEIGHTS = (0, 16, 24, 32, 48, 64, 96, 128, 256)  # pixels at which the bins of heights begin
# By protocol: a name, and whether an example belongs there.
WORDS: Mapping[str, Callable[[str], bool]] = {
    'digits alone': str.isdigit, 'letters alone': str.isalpha,
    'digits and letters': lambda text: text.isalnum() and not text.isdigit() and not text.isalpha(),
    'other characters, too': lambda text: not text.isalnum()}
FORMULAS: Mapping[str, Callable[[str], bool]] = {
    'with a fraction': lambda text: r'\frac' in text, 'with a root': lambda text: r'\sqrt' in text,
    'with scripts': lambda text: '_' in text or '^' in text,
    'in one line': lambda text: not any(each in text for each in (r'\frac', r'\sqrt', '_', '^'))}


def groups(record: Record, found: Gallery, root: str | Path, album: Album) -> Section:
    """All these parts, each as a table or a chart."""
    title = 'By kind of example'
    if not record.examples:
        return Section('groups', title, paragraph(NO_RESULTS))
    formulas = record.protocol == 'latex'
    tables: list[Html] = [element('h3', 'What stands in the formula' if formulas else 'Digits and letters'),
                          _table(by_kind(record.examples, FORMULAS if formulas else WORDS))]
    known, why = trained(record.config, root, record.protocol)
    tables += [element('h3', 'Known from training'), paragraph(why) if why else _table(by_known(
        record.examples, known, record.protocol))]
    parts = [element('div', *tables)]
    sampled = record.examples[::-(-len(record.examples) // MEASURED)]
    bins = by_height(found.heights(sampled))
    if bins:
        parts.append(element('div', element('h3', 'Height of the image'), album.chart(
            'height', f'Accuracy, with its 95 % interval, by the height of the image in pixels, of '
            f'{sum(each.total for each in bins):,} images; below, how many there are.', charts.bars, bins,
            'height of the image, pixels')))
    return Section('groups', title, element('div', *parts, class_='pair'))


def by_kind(examples: Sequence[Judged], kinds: Mapping[str, Callable[[str], bool]]) -> list[Bin]:
    """Examples by what their truths, as they are compared, consist of."""
    return _filled((name, [each for each in examples if belongs(''.join(each.wanted))])
                   for name, belongs in kinds.items())


def by_known(examples: Sequence[Judged], known: Collection[str], protocol: str) -> list[Bin]:
    """Examples whose truth stands in training, and all others."""
    keys = _keys([each.truth for each in examples], protocol)
    parted: dict[bool, list[Judged]] = {True: [], False: []}
    for each, key in zip(examples, keys, strict=True):
        parted[key in known].append(each)
    return _filled((('stands in training, too', parted[True]), ('not in training', parted[False])))


def by_height(measured: Sequence[tuple[Judged, int]]) -> list[Bin]:
    """Examples by the height of their image in pixels."""
    names = [*(f'{low}–{high - 1}' for low, high in zip(HEIGHTS, HEIGHTS[1:], strict=False)),
             f'{HEIGHTS[-1]}+']
    inside: dict[str, list[Judged]] = {name: [] for name in names}
    for example, height in measured:
        inside[names[sum(height >= edge for edge in HEIGHTS) - 1]].append(example)
    return _filled(inside.items())


def trained(config: ConfigDict, root: str | Path, protocol: str) -> tuple[frozenset[str], str]:
    """The labels of training as they are compared; or why they are not known."""
    drawn = [name for name in config.data.train if name.partition(':')[0] in ENDLESS]
    if len(drawn) == len(config.data.train):
        return frozenset(), f'Training is drawn without end ({", ".join(drawn)}): it has no list of labels.'
    texts: list[str] = []
    for name in config.data.train:
        if name in drawn:
            continue
        try:
            source = open_set(name, config, root)
        except ConfigError as error:
            return frozenset(), f'Not known: {error}.'
        if len(texts) + len(source) > MOST_LABELS:
            return frozenset(), f'Not counted: training has more than {MOST_LABELS:,} labels.'
        texts += [text for _, text in source.labels(range(len(source)))]
    return frozenset(_keys(texts, protocol)), ''


def _keys(texts: Sequence[str], protocol: str) -> list[str]:
    if protocol == 'latex':
        return normal_forms(texts)
    return [''.join(canonical(text, protocol)) for text in texts]


def _filled(parted: Iterable[tuple[str, Sequence[Judged]]]) -> list[Bin]:
    return [tallied(name, inside) for name, inside in parted if inside]


def _table(bins: Sequence[Bin]) -> Html:
    rows = []
    for each in bins:
        low, high = wilson_interval(each.right, each.total)
        rows.append((each.label, f'{each.total:,}', f'{each.right / each.total:.2%}',
                     f'{low:.2%} to {high:.2%}'))
    return table(('', 'examples', 'accuracy', '95 % interval'), rows)
