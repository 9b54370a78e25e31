"""A trained model that reads images, of a workdir or an exported folder, by the same code as evaluation."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from recog.data.files import read_row
from recog.data.rows import Row, Source
from recog.errors import ConfigError, nearest
from recog.images.read import Unreadable, image_of
from recog.metrics.formulas import formula_tokens, well_formed
from recog.reading import adapt, drawings, named
from recog.reading.answer import Answer
from recog.reading.drawings import Drawing
from recog.reading.engines import ENGINES
from recog.reading.exported import Folder, is_exported, open_folder
from recog.reading.located import Located, located
from recog.reading.read import Engine, Reading, Scored, read_source, set_length
from recog.reading.turned import Turns, likeliest
from recog.workdir.files import CONFIG, is_workdir
from recog.workdir.folder import workdir_path

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from recog.workdir.opened import Opened

INVERT = ('yes', 'no', 'auto')
CHANNELS = ('bgr', 'rgb')  # of arrays
ROTATE = ('', 'auto')


class Arrays:
    """Images given as arrays, Pillow's images, encoded bytes or paths, as a source.

    With the rule of a recipe, `config.image`, also drawings.
    """

    name = 'images'

    def __init__(self, images: Sequence[Any], channels: str = 'bgr', rule: ConfigDict | None = None):
        self.images, self._channels, self._rule = images, channels, rule

    def __len__(self) -> int:
        return len(self.images)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(self._name(index), '') for index in indices]

    def rows(self, indices: Sequence[int]) -> Iterator[Row]:
        return (self._row(self._name(index), self.images[index]) for index in indices)

    def _name(self, index: int) -> str:
        image = self.images[index]
        return str(image) if isinstance(image, str | Path) else f'image {index}'

    def _row(self, name: str, image: Any) -> Row:
        if isinstance(image, str | Path | bytes):
            return read_row(name, '', image)
        if isinstance(image, Drawing) and self._rule is not None:
            return drawings.row(name, image, self._rule)
        try:
            return Row(name, '', image_of(image, self._channels))
        except Unreadable as error:
            return Row(name, '', None, error.reason)


class Held:
    """Rows that are in memory, as a source."""

    name = 'images'

    def __init__(self, rows: Iterable[Row]):
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(self._rows[index].id, '') for index in indices]

    def rows(self, indices: Sequence[int]) -> list[Row]:
        return [self._rows[index] for index in indices]


class Recognizer:
    """A trained model that reads images: paths, encoded bytes, Pillow's, or uint8 arrays (colour or grey)."""

    def __init__(self, opened: 'Opened | Folder', mesh: 'Mesh | None' = None, *, batch: int = 64,
                 beam: int = 1, width_rule: str = '', max_length: int = 0, details: bool = False,
                 best: int = 1, invert: str = '', channels: str = 'bgr', places: bool = False,
                 rotate: str = '', lasting: bool = False):
        self.opened, self.batch, self.beam, self.invert = opened, batch, beam, invert
        self.lexicon = opened.lexicon if beam > 1 else None
        self.rotate, self.places, details = rotate, places, details or places
        self.channels = channels  # of arrays
        self.config = opened.config.copy_and_resolve_references()
        with self.config.unlocked():
            self.config.data.workers = 0  # starting processes would take longer than reading
            self.config.image.width_rule = width_rule or self.config.image.width_rule
        best = best or beam  # all
        if best > beam:
            raise ConfigError(f'--nbest {best} needs --beam {best} or more')
        self.best, best = best, beam if self.lexicon else best  # of which the lexicon chooses
        if isinstance(opened, Folder):
            self._path, self._form, capacity = opened.path, opened.form, opened.manifest['capacity']
            self._engine: Engine = opened.engine(best, details)
            self._middle = opened.middle
        else:
            self._path, self._form, capacity = opened.workdir, 'workdir', opened.model.about.capacity
            self._engine = _compiled(opened, mesh, beam, details, best, lasting)
            self._middle = opened.model.about.middle
        if max_length:
            set_length(self.config, capacity, max_length)

    @property
    def about(self) -> dict[str, Any]:
        """The model and how it reads."""
        protocol, rule = self.config.eval.protocol, self.config.image
        return {'path': str(self._path), 'form': self._form, 'model': self.config.model.name,
                'formula': protocol == 'latex', 'beam': self.beam, 'max_length': self.config.text.max_length,
                'protocol': protocol, 'tokens': self.opened.vocab.tokens, 'trained_on': list(
                    self.config.data.train), 'ink': rule.ink, 'shape': (rule.height, rule.width)}

    def read(self, source: Source) -> Iterator[Reading]:
        """What stands in each image of a source, in its order."""
        return self._read(self._adapted(source))

    def readings(self, given: Sequence[Any]) -> list[Reading]:
        """What stands in each image; where one is unreadable, the text is None and the reason says why."""
        source = self._adapted(self.source(given))
        if isinstance(source, adapt.Adapted):  # which would be done again for each time that rows are read
            source = Held(source.rows(range(len(source))))
        return list(self._read(source))

    def located(self, reading: Reading, source: Source) -> list[Located]:
        """Where each token of a reading with details stands in its image, which the source gives again."""
        row, = source.rows([reading.row])
        if row.image is None:  # the file is not what it was
            raise Unreadable(row.id, row.reason)
        invert = '' if len(row.strokes) else self.invert  # what was drawn here is not adapted
        return located(reading, row.image, self.opened.vocab, self.config.image, invert, self._middle)

    def _adapted(self, source: Source) -> Source:
        source = Turns(source) if self.rotate else source
        if self.invert and self.config.image.ink:
            return adapt.Adapted(source, self.config.image, self.invert)
        return source

    def _read(self, source: Source) -> Iterator[Reading]:
        readings = read_source(self._engine, source, self.opened.vocab, self.config, batch=self.batch,
                               temperature=self.opened.temperature, lexicon=self.lexicon, best=self.best)
        return likeliest(readings, self.opened.vocab) if self.rotate else readings

    def _answer(self, reading: Reading, source: Source) -> Answer:
        wanted = self.places and reading.text is not None
        return Answer.of(reading, self.located(reading, source) if wanted else ())

    def __call__(self, given: Any) -> Any:
        """The answer for an image, which must be readable; for a list of images, a list of answers.

        For an iterator, an iterator, which takes as many images at a time as are read together. Among several
        images, one that cannot be read has an answer without a text, which says why.
        """
        if isinstance(given, list | tuple) and not isinstance(given, Drawing):
            several = self.source(given)
            return [self._answer(reading, several) for reading in self.read(several)]
        if isinstance(given, Iterator):
            return self._stream(given)
        source = self.source([given])
        reading, = self.read(source)
        if reading.text is None:
            raise Unreadable(source.labels([0])[0][0], reading.reason)
        return self._answer(reading, source)

    def _stream(self, given: Iterator[Any]) -> Iterator[Answer]:
        while images := list(itertools.islice(given, self.batch)):
            yield from self(images)

    def source(self, given: Sequence[Any]) -> Arrays:
        """Images as a source."""
        return Arrays(given, self.channels, self.config.image)


def _compiled(opened: 'Opened', mesh: 'Mesh | None', beam: int, details: bool, best: int,
              lasting: bool) -> Engine:
    from recog.devices.mesh import one_device
    from recog.reading.compiled import Compiled, decoder

    mesh = mesh or one_device()
    return Compiled(decoder(opened.model, mesh, beam, details, best), opened.variables, mesh, lasting)


def load(path: str | Path, *, beam: int = 0, max_length: int = 0, batch: int = 64, invert: str = 'auto',
         width_rule: str = '', best: int = 1, explain: bool = False, step: int | None = None,
         devices: str = '', channels: str = 'bgr', places: bool = False, rotate: str = '',
         engine: str = '', lasting: bool = False) -> Recognizer:
    """The recognizer of a workdir, an exported folder or a named reader; arguments as of `recog.load`.

    With `lasting`, as in a server, it takes longer over the first image to take less over all later ones.
    """
    for name, value, known in (('--invert', invert, INVERT), ('channels', channels, CHANNELS),
                               ('--rotate', rotate, ROTATE), ('--engine', engine, ('', *ENGINES))):
        if value not in known:
            raise ConfigError(f'{name} {value!r} must be one of {", ".join(filter(None, known))}')
    how: dict[str, Any] = {'batch': batch or 64, 'width_rule': width_rule, 'max_length': max_length,
                           'details': explain, 'best': best, 'invert': invert, 'channels': channels,
                           'places': places, 'rotate': rotate, 'lasting': lasting}
    folder = workdir_path(named.find(path))
    if is_exported(folder):
        exported = open_folder(folder, devices, engine)
        exported.check(beam=beam, step=step, width_rule=width_rule)
        return Recognizer(exported, beam=exported.manifest['beam'], **how)
    needs_workdir(folder)
    if engine:
        raise ConfigError(f'--engine {engine}: {folder} is a workdir, which JAX runs; leave it out')

    from recog.devices import setup
    from recog.devices.mesh import choose_devices, data_mesh
    from recog.workdir.opened import open_workdir

    mesh = data_mesh(choose_devices(devices))
    with setup.quiet():
        opened = open_workdir(folder, step, mesh)
    return Recognizer(opened, mesh, beam=beam or max(best, opened.beam()), **how)


def needs_workdir(folder: Any) -> None:
    """Refuse a folder that is not a workdir, saying what it is."""
    if not is_workdir(folder):
        known = [*(str(file.parent) for file in folder.parent.glob(f'*/{CONFIG}')), *named.COMES_WITH]
        near = nearest(str(folder), (name for name in known if name != str(folder)))
        what = 'is an exported model; its workdir is needed' if is_exported(folder) else \
            'is not a workdir of recog (no config.json)' if folder.exists() else 'does not exist'
        raise ConfigError(f'workdir {str(folder)!r} {what}{near}')


def text_facts(formula: bool, said: Scored | Reading) -> dict[str, Any]:
    """A text as JSON holds it: with its probabilities, and for a formula whether its LaTeX is well-formed."""
    text = said.text or ''
    found = {'text': text, 'confidence': round(said.confidence, 4), 'score': round(said.score, 4),
             'mean_token': round(said.mean_token, 4)}
    return found | ({'well_formed': well_formed(formula_tokens(text))} if formula else {})
