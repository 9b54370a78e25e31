"""A recipe checked: each field by itself, then what must go together.

It is done before jax is imported, before anything is compiled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from recog.config.bounds import one_of
from recog.config.fields import DECLARED
from recog.config.test_sets import is_reported, is_test
from recog.config.values import SEVERAL, averages_starts, flat, parse_bucket, parse_group, parse_length
from recog.errors import ConfigError

FILLING = ('stretch', 'thumbnail', 'ratio')  # fits that leave no padding
LARGEST = 1 << 53  # of whole numbers in a recipe


def check(config: ConfigDict, allowed: Mapping[str, Sequence[Any]] | None = None) -> None:
    """Refuse in one line what cannot be; `allowed` are an experiment's own choices, by dotted field."""
    bounds = {name: field.bounds for name, field in flat(DECLARED).items()}
    bounds |= {name: (one_of(*choices),) for name, choices in (allowed or {}).items()}
    fields = flat(config)
    for name, its in bounds.items():
        for bound in its:
            bound.check(name, fields[name])
    for rule in RULES:
        rule(config)


def check_fields(config: ConfigDict) -> None:
    """Refuse in one line a field of a recipe from elsewhere that is of another type or out of bounds."""
    fields = flat(config)
    for name, declared in flat(DECLARED).items():
        value, kind = fields.get(name), type(declared.default)
        right = type(value) is kind or kind is float and type(value) is int or \
            declared.default is None and (value is None or type(value) is int)
        if not right or type(value) is int and abs(value) > LARGEST:
            raise ConfigError(f'config.{name}={repr(value)[:60]} is none of its values')
        for bound in declared.bounds:
            bound.check(name, value)


def _a_batch_can_be_cut(config: ConfigDict) -> None:
    """Into micro-batches, and these into the groups of batch norm."""
    train = config.train
    if train.batch % train.accumulate:
        raise ConfigError(f'config.train.batch={train.batch} must be a multiple of '
                          f'config.train.accumulate={train.accumulate}')
    micro = train.batch // train.accumulate
    if train.norm_group and micro % train.norm_group:
        raise ConfigError(f'config.train.norm_group={train.norm_group} must divide the {micro} images of a '
                          '(micro-)batch')


def _each_set_has_its_weight(config: ConfigDict) -> None:
    sets, weights = config.data.train, config.data.weights
    if weights and (len(weights) != len(sets) or min(weights) <= 0):
        raise ConfigError(f'config.data.weights={weights} must hold one number above 0 for each of {sets}')


def _boundaries_fit_the_schedule(config: ConfigDict) -> None:
    """Two cosines meet at one boundary; elsewhere each boundary has its factor."""
    boundaries, factors = config.schedule.boundaries, config.schedule.factors
    if config.schedule.name == 'two_cosines':
        if (len(boundaries), factors) != (1, ()):
            raise ConfigError(f'config.schedule.boundaries={boundaries} must be one for two_cosines, '
                              'without factors')
    elif len(boundaries) != len(factors):
        raise ConfigError(f'config.schedule.factors={factors} must be as many as boundaries={boundaries}')
    for boundary in boundaries:
        parse_length(boundary, 'config.schedule.boundaries')


def _buckets_fit_the_images(config: ConfigDict) -> None:
    """Images that are fitted to one canvas have no other."""
    canvas, buckets = (config.image.height, config.image.width), config.data.buckets
    for bucket in buckets:
        if parse_bucket(bucket, config.text.max_length)[:2] != canvas and config.image.fit not in SEVERAL:
            raise ConfigError(f'config.data.buckets: {bucket!r} must begin with {canvas[0]}x{canvas[1]}, the '
                              f'one canvas of config.image.fit={config.image.fit!r}; only lengths may differ')


def _each_ratio_has_one_canvas(config: ConfigDict) -> None:
    """Canvases that are chosen by the ratio of an image have different ratios, and are chosen by nothing
    else."""
    if config.image.fit != 'ratio':
        return
    known: dict[int, tuple[int, int]] = {}
    for size in ((config.image.height, config.image.width),
                 *(parse_bucket(bucket, config.text.max_length)[:2] for bucket in config.data.buckets)):
        ratio = round(size[1] / size[0])
        if known.setdefault(ratio, size) != size:
            raise ConfigError(f'config.data.buckets: {size[0]}x{size[1]} and {known[ratio][0]}x'
                              f'{known[ratio][1]} are both for images about {ratio} times as wide as high; '
                              'config.image.fit=ratio needs one canvas for each ratio')
    if config.image.width_rule != 'fixed' or config.data.resident:
        field = 'data.resident' if config.data.resident else 'image.width_rule'
        raise ConfigError(f'config.{field} cannot be combined with config.image.fit=ratio')


def _images_fill_the_canvas_that_they_are_changed_on(config: ConfigDict) -> None:
    if config.image.augment.on_canvas and config.image.fit not in FILLING:
        raise ConfigError(f'config.image.augment.on_canvas=True needs images that fill their canvas: '
                          f'config.image.fit={config.image.fit!r} must be one of {", ".join(FILLING)}')


def _operations_have_a_canvas(config: ConfigDict) -> None:
    if config.image.augment.operations and config.image.fit == 'none':
        raise ConfigError(f'config.image.augment.operations={config.image.augment.operations} cannot be '
                          "combined with config.image.fit='none': rotated images would be larger than their "
                          'batch')


def _weights_are_averaged_in_one_way(config: ConfigDict) -> None:
    if config.train.ema and averages_starts(config):
        raise ConfigError(f'config.swa.start={config.swa.start!r} cannot be combined with config.train.ema='
                          f'{config.train.ema}: both say which averages are evaluated')


def _groups_have_a_pattern_and_a_multiplier(config: ConfigDict) -> None:
    for group in config.optimizer.groups:
        parse_group(group)


def _formulas_are_not_turned_into_ascii(config: ConfigDict) -> None:
    if config.eval.nfkd and config.eval.protocol == 'latex':
        raise ConfigError('config.eval.nfkd=True is for characters; the protocol latex compares tokens')


def _no_test_set_is_trained_on_or_chooses_the_checkpoint(config: ConfigDict) -> None:
    """Unless the recipe says that it may choose."""
    for name in config.data.train:
        if is_reported(name):
            raise ConfigError(f'config.data.train: {name!r} is a test set, whose figures would mean nothing; '
                              'name its training split')
    for name in config.eval.sets:
        if is_test(name) and not config.eval.allow_test:
            raise ConfigError(f'config.eval.sets: {name!r} is a test set and may not choose checkpoints; '
                              'name a validation set, or set config.eval.allow_test=True '
                              '(the results will say so)')


RULES = (
    _a_batch_can_be_cut, _each_set_has_its_weight, _boundaries_fit_the_schedule, _buckets_fit_the_images,
    _each_ratio_has_one_canvas, _images_fill_the_canvas_that_they_are_changed_on,
    _groups_have_a_pattern_and_a_multiplier, _operations_have_a_canvas, _weights_are_averaged_in_one_way,
    _formulas_are_not_turned_into_ascii, _no_test_set_is_trained_on_or_chooses_the_checkpoint,
)
