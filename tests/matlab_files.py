"""Files of MATLAB 5, byte by byte."""

import struct
import zlib


def matrix(name, kind, dims, parts=b''):
    """The bytes of a matrix of MATLAB's."""
    body = struct.pack('<4I', 6, 8, kind, 0) + element(5, struct.pack(f'<{len(dims)}i', *dims))
    body += element(1, name.encode()) + parts
    return struct.pack('<2I', 14, len(body)) + body


def element(kind, content):
    """The bytes of an element of MATLAB's."""
    return struct.pack('<2I', kind, len(content)) + content + bytes(-len(content) % 8)


def mat(*matrices):
    """A file of MATLAB's."""
    return b'MATLAB 5.0 MAT-file'.ljust(124) + b'\0\1IM' + b''.join(matrices)


def packed(content):
    """An element of MATLAB's, compressed."""
    small = zlib.compress(content)
    return struct.pack('<2I', 15, len(small)) + small


def unfolding(megabytes=2000):
    """A matrix of zeros, compressed."""
    packer = zlib.compressobj(9)
    head = matrix('imnames', 6, (1, megabytes << 17), struct.pack('<2I', 9, megabytes << 20))
    head = struct.pack('<2I', 14, len(head) - 8 + (megabytes << 20)) + head[8:]
    content = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    content += first + again * (megabytes - 1) + packer.flush()
    return mat(struct.pack('<2I', 15, len(content)) + content)


FUNCTION = 16  # MATLAB's class of function handles
HANDLE = matrix('', 2, (1, 1), struct.pack('<4I', 5, 4, 8, 1) + element(1, b'sub\0\0\0\0\0'))


def cells_in_cells(depth):
    """Text in so many cells."""
    made = matrix('', 4, (1, 1), element(2, b'x'))
    for _ in range(depth):
        made = matrix('', 1, (1, 1), made)
    return matrix('imnames', 1, (1, 1), made)
