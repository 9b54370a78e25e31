"""Where results come from: the commit of the code, the machine, and the recipe that several seeds share."""

import platform
import subprocess
from pathlib import Path

from ml_collections import ConfigDict

from recog.config import values

# What may differ between runs of one recipe: seeds, and the sets and batches by which they were measured.
FREE = ('seed', 'seeds', 'eval.report', 'eval.batch')


def commit(root: Path = Path(__file__).parents[2]) -> str:
    """The commit of this checkout, `+dirty` where its code was changed since; 'unknown' elsewhere."""
    try:
        top, found = _git(root, 'rev-parse', '--show-toplevel', 'HEAD').splitlines()
        if Path(top).resolve() != root.resolve():  # installed somewhere below another project
            return 'unknown'
        return found + ('+dirty' if _git(root, 'status', '--porcelain', '--', 'recog', 'experiments') else '')
    except (OSError, ValueError, subprocess.SubprocessError):
        return 'unknown'


def host() -> str:
    """The model of the processor."""
    file = Path('/proc/cpuinfo')
    lines = file.read_text().splitlines() if file.is_file() else []
    models = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(models, platform.machine())


def recipe(config: ConfigDict) -> str:
    """Twelve digits that are the same for runs that differ in their seeds only."""
    return values.digest({name: value for name, value in values.flat(config).items()
                          if not any(name == free or name.startswith(f'{free}.') for free in FREE)})


def _git(root: Path, *arguments: str) -> str:
    line = ['git', '-C', str(root), *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
