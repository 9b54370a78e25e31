"""Sends a published reader to a repository of the Hub, all its files in one commit."""

from pathlib import Path

from recog.errors import ConfigError
from recog.publish.addresses import Address, explained, hub
from recog.workdir import published
from recog.workdir.files import READER, is_published

ABOUT = b'---\nlibrary_name: recog\npipeline_tag: image-to-text\n---\n\n'  # the Hub warns without


def push(folder: Path, address: Address, private: bool) -> str:
    """Send the reader, once its files are compared with their hashes; returns the address of the commit."""
    if not address.repository or address.revision:
        raise ConfigError(f'{address.text!r} must be hf://OWNER/NAME')
    if not is_published(folder):
        raise ConfigError(f'{folder} is no published reader (no {READER}); make one: recog publish')
    content = published.contents(folder, published.read_manifest(folder))
    content[READER] = (folder / READER).read_bytes()
    content['README.md'] = ABOUT + content[published.CARD]  # what the Hub shows
    library = hub()
    api = library.HfApi(library_name='recog')
    try:
        api.create_repo(address.repository, private=private, exist_ok=True)
        made = api.create_commit(address.repository, [library.CommitOperationAdd(name, each)
                                                      for name, each in content.items()],
                                 commit_message='A reader published by recog')
    # As of `pull`: what is raised without a network differs between versions.
    except Exception as error:
        raise explained(address, error) from None
    return made.commit_url
