"""What the rest of recog knows of an algorithm: the contract `Model`, the batch it reads, and how it is
built.

A batch is a dict of arrays with these keys (B rows, H x W pixels, C channels, L labels):

| key | what |
|---|---|
| `image` | uint8 [B, H, W, C], in the top left corner; normalised on the device, unless already float |
| `size` | int32 [B, 2], height and width of the image; the rest is padding |
| `tokens` | int32 [B, L], vocabulary ids, -1 beyond `length`; each model adds its own special tokens |
| `length` | int32 [B] |
| `weight` | float32 [B], 1 for a real row, 0 for a filler row, which batch statistics leave out |
| `index` | int32 [B], row in its source, -1 for filler |

The maps that `decode` may return with `details`, besides the texts (h x w cells of the feature map, V tokens
of the vocabulary):

| map | what |
|---|---|
| `attention` | [B, N, L, h, w], the attention weights of each token over the cells |
| `frames` | [B, T, 1 + V], the probability of the blank and of each token in each frame, from left to right |
| `counts`, `counting` | [B, V] and [B, h, w, V], how often each token stands in the image, and where |
| `rectified` | [B, H, W, C], the rectified image; all other maps are in its coordinates |
| `fiducials` | [B, F, 2], the fiducial points (x, y) of the rectification, from -1 to 1 over the image |
"""

import ast
import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recog.errors import ConfigError, nearest

Batch = Mapping[str, Any]
Variables = dict[str, Any]  # {'params': ..., 'stats': ...}, plain nested dicts of float32 arrays

# The axes of the transposition that turns an array of the reference's checkpoint into ours.
TURNS = {'same': None, 'conv': (2, 3, 1, 0), 'transpose': (1, 0)}


# The maps that `decode` may return: some for each text, some for each image.
RECTIFIED = 'rectified'
MAPS_OF_TEXTS = ('attention',)
MAPS_OF_IMAGES = (RECTIFIED, 'fiducials', 'frames', 'counts', 'counting')


class Rows(NamedTuple):
    """Which rows of a parameter belong to the tokens of the vocabulary, in its order."""

    axis: int
    behind: int = 0  # rows behind the last token's: of special classes; all before the first token's are, too


class About(NamedTuple):
    """Facts about a model that its functions cannot tell."""

    stride: tuple[int, int]  # height and width of an image are multiples of these
    capacity: int  # the most tokens that decode can return at the recipe's size
    masked: bool  # the result does not depend on padding
    beam: bool  # decode takes beam > 1
    vocabulary_parameters: Mapping[str, Rows]  # by path, 'head/kernel': those sized by the vocabulary
    no_gradient: tuple[str, ...]  # parameters that are never trained
    maps: tuple[str, ...] = ()  # that decode returns with details
    features: tuple[str, ...] = ('backbone',)  # stages of apply that are feature maps [B, h, w, channels]
    # Where in a cell of the maps, down and right as shares of it, what the cell sees has its middle: strided
    # convolutions with padding on both sides see around the upper left corner.
    middle: tuple[float, float] = (0.5, 0.5)
    # Jitted functions that the table of layers lists beside the modules.
    operations: tuple[str, ...] = ()


class Peer(NamedTuple):
    """Where an array of the reference's checkpoint goes among our variables,
    and which of `TURNS` converts it."""

    path: tuple[str, ...]
    turn: str


ZERO = Peer((), 'same')  # an array that must be zero in the reference and has no counterpart here


class Model(NamedTuple):
    """An algorithm: pure functions of plain pytrees.

    init(key, batch=None) -> variables; without a batch, for images of the recipe's size
    apply(variables, batch, *, key=None, train=False, step=0) -> outputs by stage, stats; without a key, there
      is no dropout
    loss(variables, batch, *, key=None, train=True, step=0) -> (total, count), (stats, metrics); the loss is
      total / count, or just total where count is 0; metrics are sums too
    decode(variables, image, size, max_length, *, beam=1, details=False) -> tokens [B, N, L] int32 vocabulary
      ids, -1 after the end, length, score (log-probability of the text) and mean_token (mean probability of
      its tokens, which references call its confidence) [B, N]; with details also token_confidence [B, N, L]
      and the maps of about. max_length is an int32 scalar, or one for each row [B].
    peers: key in the reference's checkpoint -> Peer
    adapt(arrays by name) -> arrays by the keys of peers; renames weights that were published under other
      names
    pretrained() -> the variables that training starts with instead of init's, read from a file; none unless
      the recipe names one
    """

    init: Callable[..., Variables]
    apply: Callable[..., tuple[dict[str, Any], Any]]
    loss: Callable[..., Any]
    decode: Callable[..., dict[str, Any]]
    peers: Mapping[str, Peer]
    about: About
    pretrained: Callable[[], Variables] = dict
    adapt: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict


@functools.cache
def names() -> tuple[str, ...]:
    """The algorithms: the modules of this package that define `build`, found without importing them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if _builds(module.name)))


def _builds(name: str) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == 'build' for node in _statements(name))


def _statements(name: str) -> list[ast.stmt]:
    """What stands in a module of this package, read without importing it."""
    spec = importlib.util.find_spec(f'{__name__}.{name}')
    if spec is None or spec.origin is None:
        return []
    return ast.parse(Path(spec.origin).read_text(encoding='utf-8')).body


def completed(config: Any) -> Any:
    """A recipe that an older version wrote, with the fields of its algorithm that are newer.

    The algorithm's module names them in `EARLIER`, with the values under which everything is as it was
    without them. Recipes that have them all stay as they are.
    """
    earlier = _earlier(config.model.name) if config.model.name in names() else {}
    with config.unlocked():
        for field, value in earlier.items():
            if field not in config.model:
                config.model[field] = value
    return config


@functools.cache
def _earlier(name: str) -> Mapping[str, Any]:
    """The dict `EARLIER` of an algorithm's module, found without importing it; empty if there is none."""
    return next((ast.literal_eval(node.value) for node in _statements(name) if isinstance(node, ast.Assign)
                 and isinstance(node.targets[0], ast.Name) and node.targets[0].id == 'EARLIER'), {})


def build(config: Any, vocab: Any) -> Model:
    """The model that `config.model.name` names, for the tokens of `vocab`."""
    from recog.models.precision import in_precision

    model: Model = _module(config.model.name).build(config, vocab)
    apply, loss, decode = (in_precision(part, config.train.precision)
                           for part in (model.apply, model.loss, model.decode))
    return model._replace(apply=apply, loss=loss, decode=decode)


def _module(name: str) -> Any:
    """The module of an algorithm: one of this package, or a module elsewhere by its dotted name."""
    if name in names():
        return importlib.import_module(f'{__name__}.{name}')
    if '.' not in name:
        known = ', '.join(names())
        raise ConfigError(f'config.model.name={name!r} is not one of {known}{nearest(name, names())}, nor a '
                          "module of your own, such as 'my_package.my_model'")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f'config.model.name={name!r}: Python finds no module {error.name!r}; put the '
                          'folder that holds it on PYTHONPATH, or install it') from None
    if not hasattr(module, 'build'):
        raise ConfigError(f'config.model.name={name!r}: the module must define build(config, vocab) -> '
                          'Model; see recog/models/__init__.py')
    return module


def refuse(config: Any, checks: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse the recipe unless every check holds: dotted field -> (holds, what is allowed)."""
    for field, (right, words) in checks.items():
        if not right:
            section, name = field.split('.')
            raise ConfigError(f'config.{field}={config[section][name]!r} must be {words}')


def flatten(tree: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The leaves of nested dicts by their path."""
    leaves: dict[tuple[str, ...], Any] = {}
    for name, value in tree.items():
        path = (*prefix, name)
        leaves.update(flatten(value, path) if isinstance(value, Mapping) else {path: value})
    return leaves


def variables(leaves: Mapping[tuple[str, ...], Any]) -> Variables:
    """Variables from their arrays by path; those of a model without statistics have an empty dict for them.
    """
    return {'params': {}, 'stats': {}} | unflatten(leaves)


def unflatten(leaves: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Nested dicts from leaves by their path."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = value
    return tree
