"""Members of a tar, one after another and within bounds: of headers, of sizes, of what it unfolds to."""

import tarfile as library
from collections.abc import Iterator
from tarfile import ReadError, TarFile, TarInfo
from typing import IO

LONGEST_HEADER = 8192  # bytes of a header for long names, which the library reads at once
LARGEST_MEMBER = 1 << 30
MOST_MEMBERS = 300_000  # of a tar whose size is bounded
LONG = (library.XHDTYPE, library.XGLTYPE, library.SOLARIS_XHDTYPE, library.GNUTYPE_LONGNAME,
        library.GNUTYPE_LONGLINK)
BROKEN = (library.InvalidHeaderError, library.TruncatedHeaderError)  # type: ignore[attr-defined]


class _Member(TarInfo):
    """A member whose headers are bounded; a damaged header is an error, not the end of the tar."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> '_Member':
        """A header that was read; those for long names say how much is read next."""
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or found.type in LONG and found.size > LONGEST_HEADER:
            raise ReadError(f'a header of {found.size:,} bytes')
        return found

    @classmethod
    def fromtarfile(cls, tarfile: TarFile) -> '_Member':
        """The next member."""
        try:
            return super().fromtarfile(tarfile)
        except BROKEN as error:
            raise ReadError(f'a header is damaged: {error}') from None


def opened(file: IO[bytes], mode: str = 'r') -> TarFile:
    """A tar, compressed or not; `r|*` reads it once from its beginning to its end."""
    return library.open(fileobj=file, mode=mode, tarinfo=_Member)  # type: ignore[call-overload]


def members(archive: TarFile, most: int = 0) -> Iterator[TarInfo]:
    """The members in order, of an archive that unfolds to no more than `most` bytes if that is given."""
    last, count = -1, 0
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # else millions of them would be kept
        end, count = archive.offset, count + 1  # type: ignore[attr-defined]
        if member.offset <= last or member.size < 0 or end <= member.offset:
            raise ReadError('a member ends before it begins')
        if end - member.offset > LARGEST_MEMBER:
            raise ReadError(f'a member has more than {LARGEST_MEMBER:,} bytes')
        if most and (end > most or count > MOST_MEMBERS):
            raise ReadError(f'it unfolds to more than {most:,} bytes or {MOST_MEMBERS:,} files')
        last = member.offset
        yield member
