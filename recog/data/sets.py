"""Sets by their names: NAME[/CONFIG][:SPLIT], and hf:OWNER/NAME[:SPLIT] of the Hub."""

from pathlib import Path

from ml_collections import ConfigDict

from recog.buckets import is_remote
from recog.config import values
from recog.config.test_sets import BENCHMARKS
from recog.data import bucket, tables
from recog.data.files import labelled_folder
from recog.data.prepared import Prepared
from recog.data.rows import Source
from recog.errors import ConfigError, nearest

DRAWN = ('rendered', 'formulas')  # the sets that need no data
COMPOSED, INK = 'composed', 'crohme:train'  # a set drawn without end, too, and the one that it is made of
ENDLESS = (*DRAWN, COMPOSED)


def open_set(name: str, config: ConfigDict, root: str | Path) -> Source:
    """The source of this name: drawn words or formulas, one of the Hub, or a set below the root."""
    path, _, split = name.partition(':')
    # Held-out words and formulas are the same for every seed, so that runs can be compared.
    seed = values.seed(config, 'data') if split == 'train' else 0
    if path == 'rendered':
        from recog.data.drawn.words import Words

        return Words(config.render, split or 'train', seed=seed)
    if path == 'formulas':
        from recog.data.drawn.formulas import Formulas

        return Formulas(config.formulas, split or 'train', seed=seed)
    if path == tables.HUB:
        return tables.of_hub(name, config)
    folder = set_folder(name, root)
    if path == COMPOSED:
        from recog.data.drawn.composed import Composed

        if not (folder / 'dataset_info.json').is_file():
            raise ConfigError(f'{name} is made of the strokes of {INK}, which {folder} does not have; '
                              'prepare it by datasets/crohme.py of InkML')
        return Composed(config.composed, Prepared(INK, folder, 'train'), split or 'train', seed=seed)
    if (folder / 'packed.json').is_file():
        from recog.data.packed import Packed
        from recog.data.ragged import Ragged

        return (Ragged if config.image.fit in values.SEVERAL else Packed)(name, folder, config)
    if (folder / 'labels.tsv').is_file():
        return labelled_folder(name, folder)
    if not (folder / 'dataset_info.json').is_file():
        return tables.of_shards(name, folder, config)
    return Prepared(name, folder, split)


def set_folder(name: str, root: str | Path) -> Path:
    """The folder with the files of a set that is not drawn, or that a drawn one is made of."""
    if name.partition(':')[0] == COMPOSED:
        name = INK
    path, _, split = name.partition(':')
    if is_remote(root):
        return bucket.set_folder(path, split, str(root))
    folder = Path(root) / path
    if (folder / 'packed.json').is_file() and not split:
        return folder
    if (folder / split / 'labels.tsv').is_file():
        return folder / split
    versions = sorted(folder.glob('*/dataset_info.json')) or sorted(folder.glob('dataset_info.json'))
    if versions:
        return versions[-1].parent
    if tables.has_shards(folder):
        return folder
    raise ConfigError(_missing(name, path, Path(root)))


def _missing(name: str, path: str, root: Path) -> str:
    # Files that only a set has, and how many folders above them is the set's own.
    marks = {'*/packed.json': 0, '*/labels.tsv': 0, '*/*/labels.tsv': 0, '*/*/dataset_info.json': 1,
             '*/*/*/dataset_info.json': 1, '*/*.parquet': 0, '*/*.tar': 0}
    found = sorted({str(file.parents[up].relative_to(root))
                    for mark, up in marks.items() for file in root.glob(mark)})
    there = [*DRAWN, *([COMPOSED] if INK.partition(':')[0] in found else []), *found]
    known = path.partition('/')[0]
    script = 'benchmarks.py' if known in (*BENCHMARKS, 'validation_union') else f'{known}.py'
    if (Path('datasets') / script).is_file():
        how = f'prepare it: python {Path("datasets") / script} --source PATH --data {root}'
    else:
        how = (f'it must be a folder {root / path} with labels.tsv, '
               'with Parquet or WebDataset shards, or one prepared by TFDS (VERSION/dataset_info.json)')
    return (f'set {name!r} is not there below --data {root}{nearest(path, there)}; {how}; '
            f'there are: {", ".join(there)}')
