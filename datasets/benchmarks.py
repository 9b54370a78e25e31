"""The scene text benchmarks and the LMDB training data, in the forms in which they are common.

Finds everything of `data_lmdb_release` and of PARSeq's folder, the official archives of IIIT5K, SVT
and ICDAR 2003, 2013 and 2015 (unpacked or not) and folders of crops with labels.tsv, and prepares
each as the set that the recipes expect.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from recog import prepare
from recog.errors import ConfigError, nearest
from recog.images.read import Unreadable, read_image
from recog.prepare import archives, lmdbs
from recog.prepare.archives import Archive, Picture
from recog.prepare.regular import Lost
from recog.text.lines import in_line

# Set -> split -> words. The ten of the literature come first; then what else the releases hold.
TESTS = {'iiit5k': 3000, 'svt': 647, 'ic03/860': 860, 'ic03/867': 867, 'ic13/857': 857, 'ic13/1015': 1015,
         'ic15/1811': 1811, 'ic15/2077': 2077, 'svtp': 645, 'cute80': 288}
# Union14M's benchmark, long and occluded words: LMDBs, as OpenOCR's release has them.
CHALLENGES = {'u14m/curve': 2426, 'u14m/multi_oriented': 1369, 'u14m/artistic': 900, 'u14m/contextless': 779,
              'u14m/salient': 1585, 'u14m/multi_words': 829, 'u14m/general': 400_000,
              'ltb': 3376, 'ost': 4832}
SIZES: Mapping[str, Mapping[str, int]] = {
    **{name: {'test': count} for name, count in (*TESTS.items(), *CHALLENGES.items())},
    'iiit5k': {'test': 3000, 'train': 2000}, 'svt': {'test': 647, 'train': 257},
    'ic15/2077': {'test': 2077, 'train': 4468},
    'ic03/1110': {'test': 1110, 'train': 1156}, 'ic13/1095': {'test': 1095, 'train': 848},
    # As clovaai's LMDBs have them: not quite all of the originals.
    'validation_union': {'validation': 6992}, 'synthtext': {'train': 5_522_808},
    'mjsynth': {'train': 7_224_586, 'validation': 802_731, 'test': 891_924},
}
# The set of a whole release, and the tests that are chosen from it: words of
# letters and digits only, at least this long.
WHOLE = {'ic03': 'ic03/1110', 'ic13': 'ic13/1095', 'ic15': 'ic15/2077'}
CHOSEN = {'ic03/867': 3, 'ic13/1015': 1, 'ic13/857': 3}
# Additional features of annotations in this form.
LEXICONS = {('iiit5k', 'mat'): ('lexicon_50', 'lexicon_1k'), ('svt', 'scenes'): ('lexicon_50',)}
FARTHEST = 1e6  # in pixels; no picture is so large that a side of a box could be there
ONLY_LMDB = ('ic03/860', 'ic15/1811')

LMDBS = {'iiit5k_3000': 'iiit5k', 'iiit5k': 'iiit5k', 'svt': 'svt', 'svt_647': 'svt', 'svtp': 'svtp',
         'svtp_645': 'svtp',
         'cute80': 'cute80', 'cute80_288': 'cute80',
         **{name.replace('/', '_'): name for name in TESTS if '/' in name}, 'ltb': 'ltb', 'ost': 'ost'}
MJSYNTH = {'train': 'train', 'valid': 'validation', 'val': 'validation', 'test': 'test'}


class Part(NamedTuple):
    """Where a split of a set comes from: the annotation of an archive, or an LMDB."""

    set: str
    split: str
    origin: Archive | Path

    @property
    def place(self) -> str:
        """Its path."""
        return self.origin.place if isinstance(self.origin, Archive) else str(self.origin)


class Benchmark(prepare.Builder):
    """One of the sets; `parts` is set before it is prepared."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in
                       ('all', *sorted({name.partition('/')[2] for name in SIZES if '/' in name}))]
    PLAIN = 'all'
    CHUNK = 8
    parts: tuple[Part, ...] = ()

    def extra_features(self) -> dict[str, Any]:
        """The lexicons of IIIT5K and SVT: words, one a line."""
        return {name: tfds.features.Text() for name in self.options['lexicons']}

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(lexicons=(), root='')

    def bytes_needed(self) -> int:
        return sum(lmdbs.size(part.origin) for part in self.parts if isinstance(part.origin, Path))

    def tasks(self) -> Iterator[tuple[str, Any]]:
        root = Path(self.options['root'])
        ranges = [lmdbs.ranges(part.origin, lmdbs.called(part.origin, root)) if isinstance(part.origin, Path)
                  else []
                  for part in self.parts]
        self.total = sum(map(len, ranges)) if all(ranges) else 0
        for part, found in zip(self.parts, ranges, strict=True):
            tasks = archives.pictures(part.origin) if isinstance(part.origin, Archive) else found
            yield from ((part.split, task) for task in tasks)

    def examples(self, task: Any) -> Iterator[Any]:
        if isinstance(task, lmdbs.Range):
            yield from _read(task)
            return
        shortest = CHOSEN.get(f'{self.name}/{self.config_name}', 0)
        for each in _cut(task, self.options['lexicons']):
            reason = _left_out(each.text, shortest) if isinstance(each, prepare.Example) else ''
            yield prepare.Rejected(each.id, reason, each.text) if reason else each


def _left_out(text: str, shortest: int) -> str:
    if shortest and not re.fullmatch('[0-9A-Za-z]+', text):
        return 'not in this choice: other than letters and digits'
    return 'not in this choice: too short' if len(text) < shortest else ''


def _read(part: lmdbs.Range) -> Iterator[Any]:
    for entry in lmdbs.read(part):
        if entry.problem:
            yield prepare.Rejected(entry.id, entry.problem, entry.detail)
        else:
            yield prepare.Example(entry.id, entry.text, entry.image)


def _cut(picture: Picture, lexicons: tuple[str, ...]) -> Iterator[Any]:
    """The words of a picture; those with a box are cut out, losslessly."""
    import cv2

    if isinstance(picture.image, Lost):
        yield from (prepare.Rejected(word.id, *picture.image) for word in picture.words)
        return
    scene = None
    for word in picture.words:
        extra = {name: word.lexicons.get(name, '') for name in lexicons}
        if word.box is None:
            yield prepare.Example(word.id, word.text, picture.image, extra)
            continue
        try:
            scene = read_image(picture.image, picture.name) if scene is None else scene
        except Unreadable as error:
            yield prepare.Rejected(word.id, 'image cannot be decoded', error.reason)
            continue
        if not all(abs(number) < FARTHEST for number in word.box):  # infinite, or no number
            yield prepare.Rejected(word.id, 'box is degenerate', str(word.box))
            continue
        left, top = round(word.box[0]), round(word.box[1])
        right, bottom = round(word.box[0] + word.box[2]), round(word.box[1] + word.box[3])
        crop = scene[max(0, top):max(0, bottom), max(0, left):max(0, right)]
        if not crop.size:
            yield prepare.Rejected(word.id, 'box lies outside of the image', str(word.box))
            continue
        if crop.shape[:2] != (bottom - top, right - left):
            yield prepare.Noted(word.id, 'box cut off at the edge of the image', str(word.box))
        yield prepare.Example(word.id, word.text, cv2.imencode('.png', crop)[1].tobytes(), extra,
                              crop.shape[:2])


def lmdb_part(folder: Path, root: Path) -> Part | None:
    """The set and split of an LMDB, recognised by its path; None if it is none that is known."""
    below = [part.lower() for part in folder.relative_to(root).parts]
    parts = [root.parent.name.lower(), root.name.lower(), *below]
    name, parent = parts[-1], parts[-2]
    if name in ('validation', 'val') and parent != 'mj' and not any(part.startswith('train')
                                                                    for part in below):
        return Part('validation_union', 'validation', folder)
    if name.removeprefix('mj_') in MJSYNTH and (parent == 'mj' or name.startswith('mj_')):
        return Part('mjsynth', MJSYNTH[name.removeprefix('mj_')], folder)
    if name == 'st':
        return Part('synthtext', 'train', folder)
    if f'{parent}/{name}' in CHALLENGES:
        return Part(f'{parent}/{name}', 'test', folder)
    if name in LMDBS and not any(part.startswith(('train', 'val')) for part in below[:-1]):
        return Part(LMDBS[name], 'test', folder)
    return None


def archive_parts(archive: Archive) -> list[Part]:
    """The sets that an archive gives: the whole, and those chosen from its test words."""
    whole = Part(WHOLE.get(archive.name, archive.name), archive.split, archive)
    chosen = [Part(name, 'test', archive) for name in CHOSEN if name.startswith(f'{archive.name}/')]
    return [whole, *(chosen if archive.split == 'test' else [])]


class Benchmarks(prepare.Builder):
    """Prepares every benchmark and every LMDB of training data that is found at or below the source."""

    name = 'benchmarks'

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--only', action='append', metavar='SET',
                            help=f'this set alone (may be repeated): {", ".join(SIZES)}')
        parser.add_argument('--list', action='store_true', help='say what is found, and prepare nothing')

    def found(self) -> dict[str, dict[str, Part]]:
        """Set -> split -> part. An archive is preferred to an LMDB,
        because it has lexicons and file names."""
        root = self.source
        known, lines = archives.found(root)
        parts = [part for archive in known for part in archive_parts(archive)]
        for folder in lmdbs.found(root) if root.is_dir() else []:
            part = lmdb_part(folder, root)
            if part:
                parts.append(part)
            else:
                lines.append(f'{folder} is an LMDB of no set that is known here (lmdb_folder.py prepares '
                             'any): left out')
        sets: dict[str, dict[str, Part]] = {name: {} for name in SIZES}
        for part in parts:
            other = sets.setdefault(part.set, {}).setdefault(part.split, part)
            if other is not part:
                lines.append(f'{part.set}:{part.split} is also in {part.place}: left out')
        for line in lines:
            print(in_line(line))
        return {name: splits for name, splits in sets.items() if splits}

    def prepare(self, progress: bool = True, overwrite: bool = False) -> Path:
        """Prepare all that is found; returns the root of prepared sets."""
        data = Path(self._original_state['data_dir'])
        wanted = self.options['only'] or list(SIZES)
        for name in wanted:
            if name not in SIZES:
                raise ConfigError(f'--only {name!r} is no set{nearest(name, SIZES)}; there are: '
                                  f'{", ".join(SIZES)}')
        if self.name != 'benchmarks':
            raise ConfigError(f'--name {self.name}: the benchmarks have names of their own')
        self.check_source()
        sets = {name: splits for name, splits in self.found().items() if name in wanted}
        for name, splits in sets.items():
            for part in splits.values():
                print(in_line(f'found {name}:{part.split} in {part.place}'))
        if not sets:
            raise ConfigError(f'{self.source} holds none of {", ".join(wanted)}')
        for name, splits in {} if self.options['list'] else sets.items():
            self._prepare_one(name, splits, data, progress, overwrite)
        for name in wanted:
            if name in TESTS and 'test' not in sets.get(name, {}):
                why = ' (a choice that only its LMDB has)' if name in ONLY_LMDB else ''
                print(f'WARNING: {name}:test is not there{why}', file=sys.stderr)
        return data

    def _prepare_one(self, name: str, splits: Mapping[str, Part], data: Path, progress: bool,
                     overwrite: bool) -> None:
        base, _, config = name.partition('/')
        origins = [part.origin for part in splits.values() if isinstance(part.origin, Archive)]
        lexicons = next((LEXICONS[each.name, each.form] for each in origins
                         if (each.name, each.form) in LEXICONS), ())
        made = Benchmark(source=self.source, data_dir=data, config=config or None, workers=self.workers,
                         name=base, options={'lexicons': lexicons, 'root': str(self.source)})
        made.parts = tuple(splits.values())
        made.EXPECTED = {made.config_name: {split: SIZES[name][split]
                                            for split in splits if split in SIZES[name]}}
        there = set(made.info.splits)
        folder = made.prepare(progress, overwrite)
        if there and set(splits) - there and not overwrite:
            missing = ', '.join(sorted(set(splits) - there))
            print(f'WARNING: {folder} lacks {missing}, which are found now; --overwrite prepares it with '
                  'them', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(prepare.main(Benchmarks))
