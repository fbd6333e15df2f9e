"""What travels between a document, a tile's bytes and its pixels: two values and one protocol. Pure."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slicedfs.ranges import ByteRange

__all__ = [
    "HEADER_BYTES",
    "MAX_TILE_BYTES",
    "UNKNOWN_SIZE",
    "UNNAMED",
    "Array",
    "Bytes",
    "Codec",
    "TileHeader",
    "TileRequest",
]

HEADER_BYTES = 16 * 1024
"""How many bytes of a file are asked for at once while its header is looked at."""
MAX_TILE_BYTES = 1 << 30
"""How many bytes of pixels one tile may declare, unless a request says otherwise."""
UNNAMED = "?"
"""The dim of an axis that the file does not name; all axes of an NPY file are such."""
UNKNOWN_SIZE = -1
"""The size of an axis that a header alone does not tell: the planes of a TIFF file with very many directories."""

Array = NDArray[np.generic]
Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class TileHeader:
    """What a file says of itself."""

    shape: tuple[int, ...]
    """Size of each axis, in the file's order."""
    dims: tuple[str, ...]
    """Name of each axis: "z", "y", "x", "s" (samples per pixel); from a codec also UNNAMED and other letters."""
    dtype: np.dtype[np.generic]
    """In native byte order."""


@dataclass(frozen=True, slots=True)
class TileRequest:
    """What the document says of a tile."""

    url: str
    """For messages only; redacted already."""
    extension: str = ""
    """Extension of the URL's path, lower case, with the dot; "" where there is none."""
    format: str | None = None
    """The tile's format as written, any case; None where not stated."""
    shape: Mapping[str, int] | None = None
    """dim -> pixels, "y" and "x" and maybe "z" and "s"; None where not stated."""
    max_bytes: int = MAX_TILE_BYTES
    """A tile that declares more bytes of pixels is refused before they are allocated."""
    raw: Mapping[str, Any] | None = None
    """``extras.slicedfs.raw`` of the document, for the format RAW: "dtype", "order", "compressor"; see raw.py."""


class Codec(Protocol):
    """One tile format. Stateless, safe to use from any thread.

    A codec whose files can be read in parts also has ``layout(request)``, a generator as `probe`, which returns a
    :class:`slicedfs.codecs.Layout`, or None for a file that is read whole.
    """

    @property
    def name(self) -> str:
        """The format's name in documents, upper case."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """Extensions of the format's files, lower case, with the dot."""

    def matches(self, head: bytes) -> bool:
        """Return whether a file that starts with `head` (64 bytes or more, or all) is of this format."""

    def probe(self, url: str) -> Generator[ByteRange, bytes, TileHeader]:
        """Read a header without I/O: yield the range wanted, be sent its bytes (fewer: the file ends), return.

        Raises
        ------
        CodecError
            The bytes are not a header of this format.
        """

    def decode(self, data: Bytes, request: TileRequest) -> tuple[Array, tuple[str, ...]]:
        """Return the pixels of the whole file `data`, and the dim of each axis.

        The header is checked against `request` (size, shape) before pixels are allocated.

        Raises
        ------
        CodecError
            The bytes are not of this format, are damaged, or disagree with `request`.
        MissingExtraError
            They need a library that is not installed.
        """
