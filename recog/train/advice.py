"""What to do about a training that may come to nothing: said before it, and where nothing is read rightly."""

from recog.data.files import Files
from recog.data.sets import ENDLESS
from recog.train.run import Run

FEW = 20_000  # images that are not drawn, of which words can hardly be learnt from random weights
LEARNT = ('of 6,725 words of photographs alone a demo learnt to read 1 of 3,000 others; started from what it '
          'had learnt of rendered words, it read 49.7 % of them')


def before(run: Run, start: int) -> list[str]:
    """Warnings about the data of a training that goes on from this step."""
    found = []
    for source in run.source.sources:
        if run.config.data.order == 'file' and isinstance(source, Files):
            found.append(f'{source.name} is read in the order of its labels.tsv (config.data.order=file): if '
                         'like stands beside like there, so it does in the batches; '
                         '--config.data.order=shuffle')
    if not start and _few(run):
        found.append(f'{len(run.source):,} images are few to learn words from: {LEARNT}. '
                     f'{"; ".join(_ways(run))}')
    return found


def next_steps(run: Run) -> str:
    """What to try where nothing is read rightly."""
    check = 'see whether the recipe can learn at all: --overfit 16 instead of --workdir'
    return '; '.join([*_ways(run), check])


def _few(run: Run) -> bool:
    """Whether it starts from nothing on few words of which none is drawn."""
    return not (run.config.init or run.config.eval.protocol == 'latex' or _draws(run)) and \
        len(run.source) < FEW


def _ways(run: Run) -> list[str]:
    """What makes learning easier, as far as the recipe does not do it."""
    drawn = 'formulas' if run.config.eval.protocol == 'latex' else 'rendered'
    names = ','.join((*run.config.data.train, f'{drawn}:train'))
    start = 'start from a reader or a trained demo: --config.init=FOLDER'
    what = 'formulas' if drawn == 'formulas' else 'words'
    mix = f'mix with rendered {what}: --config.data.train={names}'
    return [*([] if run.config.init else [start]), *([] if _draws(run) else [mix])]


def _draws(run: Run) -> bool:
    """Whether some of the training data is drawn without end."""
    return any(name.partition(':')[0] in ENDLESS for name in run.config.data.train)
