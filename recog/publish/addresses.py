"""Addresses of published readers: `hf://OWNER/NAME[@REVISION]`, and `https://...` of a folder."""

import importlib.util
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from recog.errors import ConfigError, one_line

LOOPBACK = ('localhost', '127.0.0.1', '::1')


class Address(NamedTuple):
    """Where a reader is: a repository of the Hub, or the folder of a web server."""

    text: str
    repository: str = ''
    revision: str = ''


def parse(text: str) -> Address:
    """The address that a text is; what recog does not fetch is refused."""
    text = text.rstrip('/')
    kind, _, rest = text.partition('://')
    host = urlsplit(text).hostname
    if kind == 'hf':
        found = re.fullmatch(r'([\w.-]+/[\w.-]+)(?:@([\w./-]+))?', rest, re.ASCII)
        if found:
            return Address(text, found[1], found[2] or '')
    elif (kind == 'https' and host or kind == 'http' and host in LOOPBACK) and not urlsplit(text).query:
        return Address(text)
    raise ConfigError(f'{text!r} must be hf://OWNER/NAME, hf://OWNER/NAME@REVISION, or https://HOST/FOLDER '
                      '(http:// of this machine alone)')


def hub() -> Any:
    """The library that speaks with the Hub, quiet but for its bars of progress."""
    if importlib.util.find_spec('huggingface_hub') is None:
        raise ConfigError("this needs huggingface_hub: pip install 'recog[hub]'")
    import huggingface_hub
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    return huggingface_hub


def explained(address: Address, error: Exception) -> ConfigError:
    """What went wrong on the way to an address, in one line."""
    from huggingface_hub import errors

    status = getattr(getattr(error, 'response', None), 'status_code', None)
    if isinstance(error, errors.RevisionNotFoundError):
        said = f'there is no revision {address.revision!r}'
    elif isinstance(error, errors.GatedRepoError):
        said = 'its owner must let you in first'
    elif isinstance(error, errors.RepositoryNotFoundError):
        said = 'there is no such repository, or it is private (HF_TOKEN, or hf auth login)'
    elif status in (401, 403):
        said = 'it asks for a token that may do this (HF_TOKEN, or hf auth login)'
    elif status == 404 or isinstance(error, errors.EntryNotFoundError):
        said = 'there is no published reader (no reader.json, or a file is missing)'
    elif isinstance(error, errors.OfflineModeIsEnabled):
        said = 'HF_HUB_OFFLINE is set'
    else:
        said = f'it cannot be reached: {one_line(error, 200)}'
    return ConfigError(f'{address.text}: {said}')
