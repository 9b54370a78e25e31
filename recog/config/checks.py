"""What the fields of a recipe may be: checked before jax is imported, before anything is compiled."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from recog.config.test_sets import is_test
from recog.config.values import flat, parse_bucket, parse_group, parse_length
from recog.errors import ConfigError, nearest

CHOICES = {
    'text.case': ('lower', 'keep'),
    'text.unknown': ('drop', 'refuse'),
    'text.separator': ('', ' '),
    'image.channels': ('bgr', 'rgb', 'grey'),
    'image.fit': ('pad', 'stretch', 'steps', 'thumbnail', 'none'),
    'image.ink': ('', 'light', 'dark'),
    'image.width_rule': ('fixed', 'widest'),
    'data.order': ('shuffle', 'file'),
    'train.precision': ('float32', 'bfloat16'),
    'optimizer.name': ('adam', 'adamw', 'momentum', 'adadelta'),
    'optimizer.decay_kind': ('coupled', 'decoupled'),
    'schedule.name': ('constant', 'cosine', 'one_cycle', 'piecewise', 'two_cosines'),
    'eval.protocol': ('36', '62', '94', 'exact', 'latex'),
}
AT_LEAST = {
    'text.max_length': 1, 'image.height': 1, 'image.width': 4, 'image.symbol': 0,
    'image.augment.rotation': 0, 'image.augment.perspective': 0,
    'image.augment.blur': 0, 'image.augment.noise': 0, 'image.augment.brightness': 0, 'image.augment.contrast': 0,
    'image.augment.stretch': 0, 'image.augment.curve': 0, 'image.augment.colour': 0, 'image.augment.motion': 0,
    'image.augment.jpeg': 0, 'image.augment.scale': 0, 'image.augment.elastic': 0, 'image.augment.stroke': 0,
    'data.nominal': 0, 'data.pixels': 0, 'data.workers': 0, 'data.threads': 0, 'data.prefetch': 1, 'render.count': 1,
    'formulas.count': 1, 'formulas.depth': 0, 'formulas.symbols': 0, 'formulas.height': 16, 'formulas.width': 16,
    'train.batch': 1, 'train.accumulate': 1, 'train.norm_group': 0,
    'optimizer.decay': 0, 'optimizer.clip_norm': 0, 'optimizer.clip_tensor': 0,
    'eval.batch': 1, 'eval.limit': 0, 'eval.beam': 1, 'checkpoint.keep': 0, 'log.every': 1, 'seed': 0,
    'seeds.init': 0, 'seeds.data': 0, 'seeds.augment': 0, 'seeds.dropout': 0,
}
TUPLES: dict[str, tuple[type, ...]] = {
    'data.train': (str,), 'data.weights': (int, float), 'eval.sets': (str,), 'eval.report': (str,),
    'render.letters': (int,), 'formulas.tokens': (int,),
    'init_parts': (str,), 'optimizer.groups': (str,), 'data.buckets': (str,),
    'schedule.boundaries': (str,), 'schedule.factors': (int, float),
}
AT_MOST = {
    'image.augment.perspective': 0.25,  # beyond, the four corners can make a dart
    'image.augment.rotation': 180, 'image.augment.brightness': 1, 'image.augment.contrast': 1,
    'image.augment.stretch': 1, 'image.augment.curve': 1, 'image.augment.colour': 1, 'image.augment.blur': 100,
    'image.augment.motion': 100, 'image.augment.jpeg': 95, 'image.augment.elastic': 100, 'image.augment.stroke': 10,
}
SHARES = ('image.augment.probability', 'render.difficulty', 'formulas.difficulty', 'schedule.final')
ABOVE_ZERO = ('image.scale', 'formulas.size', 'optimizer.rate', 'optimizer.eps')
BELOW_ONE = ('image.augment.downscale', 'image.augment.scale', 'train.ema', 'optimizer.b1', 'optimizer.b2', 'optimizer.momentum',
             'optimizer.rho')
LENGTHS = ('train.length', 'schedule.warmup', 'eval.every', 'checkpoint.every')


def check(config: ConfigDict, allowed: Mapping[str, Sequence[Any]] | None = None) -> None:
    """Refuse, in one line, what cannot be: before jax is imported, before anything is compiled."""
    fields = flat(config)
    for name, choices in {**CHOICES, **(allowed or {})}.items():
        if fields[name] not in choices:
            raise ConfigError(f'config.{name}={fields[name]!r} is not one of {", ".join(map(repr, choices))}'
                              f'{nearest(str(fields[name]), map(str, choices))}')
    for name, least in AT_LEAST.items():
        if fields[name] is not None and fields[name] < least:
            raise ConfigError(f'config.{name}={fields[name]} must be at least {least}')
    for name, most in AT_MOST.items():
        if fields[name] > most:
            raise ConfigError(f'config.{name}={fields[name]} must be at most {most}')
    for name, kinds in TUPLES.items():
        if not all(isinstance(item, kinds) for item in fields[name]):
            raise ConfigError(f'config.{name}={fields[name]} must hold values of type {" or ".join(k.__name__ for k in kinds)}')
    for names, right, words in ((SHARES, lambda x: 0 <= x <= 1, 'between 0 and 1'), (ABOVE_ZERO, lambda x: x > 0, 'above 0'),
                                (BELOW_ONE, lambda x: 0 <= x < 1, 'at least 0 and below 1')):
        for name in names:
            if not right(fields[name]):
                raise ConfigError(f'config.{name}={fields[name]} must be {words}')
    for name in LENGTHS:
        parse_length(fields[name], f'config.{name}')
    if '%' in fields['train.length']:
        raise ConfigError(f'config.train.length={fields["train.length"]!r} must be in epochs, steps or images')
    _check_together(config)


def _check_together(config: ConfigDict) -> None:
    train, data, schedule = config.train, config.data, config.schedule
    if train.batch % train.accumulate:
        raise ConfigError(f'config.train.batch={train.batch} must be a multiple of config.train.accumulate={train.accumulate}')
    micro = train.batch // train.accumulate
    if train.norm_group and micro % train.norm_group:
        raise ConfigError(f'config.train.norm_group={train.norm_group} must divide the {micro} images of a (micro-)batch')
    if not data.train:
        raise ConfigError('config.data.train=() must name at least one set')
    if not config.eval.sets:
        raise ConfigError('config.eval.sets=() must name at least one set')
    if data.weights and (len(data.weights) != len(data.train) or min(data.weights) <= 0):
        raise ConfigError(f'config.data.weights={data.weights} must hold one number above 0 for each of {data.train}')
    if schedule.name == 'two_cosines' and (len(schedule.boundaries), schedule.factors) != (1, ()):
        raise ConfigError(f'config.schedule.boundaries={schedule.boundaries} must be one for two_cosines, without factors')
    if schedule.name != 'two_cosines' and len(schedule.boundaries) != len(schedule.factors):
        raise ConfigError(f'config.schedule.factors={schedule.factors} must be as many as boundaries={schedule.boundaries}')
    for boundary in schedule.boundaries:
        parse_length(boundary, 'config.schedule.boundaries')
    for bucket in data.buckets:
        canvas, most = parse_bucket(bucket, config.text.max_length)[:2], (config.image.height, config.image.width)
        if config.image.fit != 'none' and canvas != most:
            raise ConfigError(f'config.data.buckets: {bucket!r} must begin with {most[0]}x{most[1]}, the one canvas of '
                              f'config.image.fit={config.image.fit!r}; only lengths may differ')
    if data.buckets and data.resident:
        raise ConfigError(f'config.data.buckets={data.buckets} must be () with config.data.resident: its batches have one shape')
    for group in config.optimizer.groups:
        parse_group(group)
    letters = config.render.letters
    if len(letters) != 2 or not 1 <= letters[0] <= letters[1]:
        raise ConfigError(f'config.render.letters={letters} must be (shortest, longest)')
    tokens = config.formulas.tokens
    if len(tokens) != 2 or not 1 <= tokens[0] <= tokens[1]:
        raise ConfigError(f'config.formulas.tokens={tokens} must be (fewest, most)')
    if config.eval.nfkd and config.eval.protocol == 'latex':
        raise ConfigError('config.eval.nfkd=True is for characters; the protocol latex compares tokens')
    if not config.eval.allow_test:
        for name in config.eval.sets:
            if is_test(name):
                raise ConfigError(f'config.eval.sets: {name!r} is a test set and may not choose checkpoints; '
                                  'name a validation set, or set config.eval.allow_test=True (the results will say so)')
