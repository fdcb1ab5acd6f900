"""IDX files: arrays in MNIST's format, plain or compressed."""

import gzip
import lzma
import math
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..quantities import counted

MAX_BYTES = 4 << 30  # bytes that a header may declare
_SMALL = 1 << 26  # bytes of a compressed file that may be held in memory
_LONGEST_HEADER = 28  # and what an error shows of the bytes of another kind of file
_GZIP = 31  # zlib's `wbits` for gzip

_KINDS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
}  # by their first bytes: names may be wrong
_OTHERS = {
    b"PK\x03\x04": "a zip file; unpack it",
    b"BZh": "a bzip2 file; unpack it",
    b"\x1f\x9d": "a compress (.Z) file; unpack it",
    b"\x93NUMPY": "a NumPy file; write it as IDX",
    b"\x89HDF": "an HDF5 file; write it as IDX",
    b"<": "a web page, perhaps of a failed download",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file with `git lfs pull`",
}


def read_idx(path: Path) -> NDArray[Any]:
    """Read an IDX array of any type, in the machine's byte order.

    At most one byte more than its header declares is decompressed.

    Raises
    ------
    InputError
        The file cannot be read, is damaged or is no IDX file; the message names it.
    """
    try:
        if (array := _in_one_call(path)) is not None:
            return array
        with _open(path) as file:
            kind, shape = _header(path, file)
            promised = math.prod(shape) * kind.itemsize
            claim = f"the header promises {' x '.join(map(str, shape))} values, {promised:,} bytes"
            if promised > MAX_BYTES:
                raise InputError(f"{path}: {claim}; at most {MAX_BYTES:,} are allowed")
            content = bytearray()
            while len(content) <= promised and (chunk := file.read(min(1 << 20, promised + 1 - len(content)))):
                content += chunk
    except EOFError:
        raise InputError(f"{path}: truncated: its compressed data ends too early") from None
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path}: damaged: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) != promised:
        found = (
            f"truncated: {claim}, there are {len(content):,}" if len(content) < promised else f"{claim}, it has more"
        )
        raise InputError(f"{path}: {found}")
    return _array(content, kind, shape)


def _in_one_call(path: Path) -> NDArray[Any] | None:
    """Array of a sound and not too large gzip file; None for any other, of which `read_idx` finds out what it is.

    One call to zlib takes less time than a stream does, and other threads run meanwhile.
    """
    with path.open("rb") as file:
        content = file.read(_SMALL + 1)
    if not content.startswith(b"\x1f\x8b") or len(content) > _SMALL:
        return None
    with suppress(InputError, zlib.error):
        begin = BytesIO(zlib.decompressobj(_GZIP).decompress(content, _LONGEST_HEADER))
        kind, shape = _header(path, begin)
        size = begin.tell() + math.prod(shape) * kind.itemsize
        if size <= MAX_BYTES:
            unpacker = zlib.decompressobj(_GZIP)
            array = unpacker.decompress(content, size + 1)
            if len(array) == size and unpacker.eof and not unpacker.unused_data:
                return _array(array, kind, shape, begin.tell())
    return None


def _array(content: bytes | bytearray, kind: np.dtype[Any], shape: tuple[int, ...], offset: int = 0) -> NDArray[Any]:
    return np.frombuffer(content, kind, offset=offset).reshape(shape).astype(kind.newbyteorder("="), copy=False)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        begin = file.read(6)
    opener = next((opener for magic, opener in _COMPRESSED.items() if begin.startswith(magic)), None)
    return cast(IO[bytes], opener(path)) if opener else path.open("rb")


def _header(path: Path, file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape of the array."""
    begin = file.read(4)
    if len(begin) == 4 and (begin[:2] != b"\0\0" or begin[2] not in _KINDS or not 1 <= begin[3] <= 4):
        begin += file.read(24)
        what = next((what for magic, what in _OTHERS.items() if begin.startswith(magic)), "another kind of file")
        raise InputError(f"{path}: not an IDX file but {what} (it begins with {begin[:8]!r})")
    sizes = file.read(4 * begin[3]) if len(begin) == 4 else b""
    if len(begin) < 4 or len(sizes) < 4 * begin[3]:
        raise InputError(f"{path}: truncated: {counted(len(begin) + len(sizes), 'byte')}; its header needs more")
    return np.dtype(_KINDS[begin[2]]), tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
