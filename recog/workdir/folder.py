"""A run's folder, here or in a bucket (gs://, s3://, ...).

Checkpoints are written straight to a bucket; other files are written here and copied.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recog.buckets import check_library, is_remote
from recog.errors import ConfigError
from recog.workdir.files import is_published, is_workdir

KINDS = ('.json', '.jsonl', '.tsv')  # of files that a run goes on writing


def workdir_path(name: Any) -> Any:
    """The folder of this name: a local path, or one of etils.epath for a bucket."""
    if not is_remote(name):
        return Path(name)
    kind = check_library('workdir', name)
    import fsspec.config
    from etils import epath

    # Another process may have written since; a listing that is remembered would not show it.
    fsspec.config.conf.setdefault(kind, {})['use_listings_cache'] = False
    return epath.Path(name)


def write_whole(file: Any, content: str | bytes) -> None:
    """Write a file if it holds anything else, so that whatever happens either the old or the new is there."""
    content = content.encode() if isinstance(content, str) else content
    if file.is_file() and file.read_bytes() == content:
        return
    if is_remote(file):  # an object of a bucket is replaced in one go
        file.write_bytes(content)
        return
    part = file.with_name(f'.{file.name}.new')
    with part.open('wb') as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, file)


@contextlib.contextmanager
def drafted(place: Path) -> Iterator[Path]:
    """A folder under a temporary name that becomes `place` at the end; nothing is left if that fails."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f'.{place.name}-', dir=place.parent))
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def refuse_other_things(folder: Any, *, resumes: bool, named: bool = True) -> None:
    """Refuse a place for a run that is a file, or a folder with more in it than hidden files.

    With `resumes` it may hold a run. `named`: --workdir is this folder, and not, as in a sweep, one above it.
    """
    if is_published(folder):
        raise ConfigError(f'{folder} holds a published reader, which cannot be trained on; begin with it in '
                          f'another workdir: --config.init={folder}')
    if resumes and is_workdir(folder) or not folder.exists():
        return
    if not folder.is_dir() or any(not path.name.startswith('.') for path in folder.iterdir()):
        things = 'other things and no run of recog' if resumes else 'other things'
        raise ConfigError(f'--workdir {folder} holds {things}; choose another' if named else
                          f'{folder} holds {things}; choose another --workdir')


class Mirror:
    """The local folder where small files are written; for a workdir in a bucket a temporary one.

    Objects in a bucket cannot be appended to, so `send` copies whole files that changed. A kill loses
    nothing: what a run wrote after its last `send` it writes again when it resumes from the checkpoint
    made there.
    """

    def __init__(self, workdir: Any):
        self.there = workdir if is_remote(workdir) else None
        self.here = Path(tempfile.mkdtemp(prefix='recog-')) if self.there else Path(workdir)
        self._sent: dict[Path, tuple[int, int]] = {}
        if self.there and self.there.is_dir():
            for file in self.there.iterdir():
                if file.suffix in KINDS:
                    copy = self.here / file.name
                    copy.write_bytes(file.read_bytes())
                    self._sent[copy] = _state(copy)

    def send(self) -> None:
        """Copy the files that are new or changed."""
        if not self.there:
            return
        for file in sorted(file for file in self.here.rglob('*') if file.is_file()):
            state = _state(file)
            if self._sent.get(file) != state:
                place = self.there / file.relative_to(self.here).as_posix()
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read_bytes())
                self._sent[file] = state

    def close(self) -> None:
        """Copy what is left and clear up."""
        if self.there:
            self.send()
            shutil.rmtree(self.here)


def _state(file: Path) -> tuple[int, int]:
    facts = file.stat()
    return facts.st_mtime_ns, facts.st_size
