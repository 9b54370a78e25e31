"""Fetches a published reader into the cache: resumed where it was stopped, each file compared with its hash.

Nothing that is fetched is run: JSON, Markdown, and arrays that safetensors reads.
"""

import io
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from recog.errors import ConfigError
from recog.publish.addresses import Address, explained, hub
from recog.reading.named import pulled
from recog.workdir import published
from recog.workdir.files import READER

UNFINISHED = '.unfinished'  # beside the readers: what is being fetched


class Bounded(io.FileIO):
    """A file that takes no more bytes than it should have, whatever a server sends."""

    most = 0

    def write(self, content: Any) -> int:
        if self.tell() + len(content) > self.most:
            raise OSError(f'{Path(str(self.name)).name} is longer than {self.most:,} bytes')
        return super().write(content)


def pull(address: Address) -> Path:
    """The folder of the reader in the cache, fetched anew."""
    place = pulled(address.text)
    draft = place.parent / UNFINISHED / place.name
    draft.mkdir(parents=True, exist_ok=True)
    try:
        url, headers = _source(address)
        content = _fetched(url(READER), headers, draft / READER)
        manifest = published.manifest(content, f'{address.text}/{READER}')
        for name, facts in manifest['files'].items():
            file = draft / name
            if not file.is_file() or published.described(file.read_bytes()) != facts:
                _fetched(url(name), headers, file, facts['bytes'], facts['sha256'])
                if published.described(file.read_bytes()) != facts:
                    file.unlink()
                    raise ConfigError(f'{address.text}/{name} is not what was published: another SHA-256')
    except ConfigError:
        raise
    # What the library's client raises where there is no network differs between its versions.
    except Exception as error:
        raise explained(address, error) from None
    return _finished(draft, place)


def _source(address: Address) -> tuple[Callable[[str], str], dict[str, str]]:
    """The address of a file by its name, and the headers of a request: all files of the Hub are of one
    commit."""
    library = hub()
    if not address.repository:
        return lambda name: f'{address.text}/{name}', {}
    from huggingface_hub.utils import build_hf_headers

    commit = library.HfApi().model_info(address.repository, revision=address.revision or None).sha
    print(f'{address.text}: commit {commit}', file=sys.stderr)
    return (partial(library.hf_hub_url, address.repository, revision=commit),
            build_hf_headers(library_name='recog'))


def _fetched(url: str, headers: dict[str, str], file: Path, size: int = 0, sha256: str = '') -> bytes:
    """The content of a file; what an earlier try has left of it is gone on with, if its hash is known."""
    from huggingface_hub.file_download import http_get

    part = file.with_name(f'{file.name}-{sha256[:16]}.part')
    kept = part.stat().st_size if size and part.is_file() else 0
    with Bounded(part, 'r+b' if kept else 'w+b') as out:
        out.most = size or published.MOST
        out.seek(kept)
        http_get(url, out, resume_size=kept, headers={**headers, 'Accept-Encoding': 'identity'},
                 expected_size=size or None, displayed_filename=file.name)
    part.replace(file)
    return file.read_bytes()


def _finished(draft: Path, place: Path) -> Path:
    """Put what was fetched whole in its place, instead of what was there."""
    for part in draft.glob('*.part'):  # of what was there in the meantime
        part.unlink()
    if place.exists():
        shutil.rmtree(place)
    draft.rename(place)
    return place
