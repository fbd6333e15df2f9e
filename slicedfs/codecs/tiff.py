"""TIFF and BigTIFF: strips, tiles, stacks. Pure.

tifffile parses and decompresses; damage that it passes over is an error here.

The planes of a tile are the full-resolution images of the chain of directories that have the shape of the first
one: thumbnails, masks and lower resolutions (NewSubfileType bits 0 and 2, SubIFDs) are left out, and so are images of
another shape. Where ImageJ or tifffile describe a stack and write one directory only, its planes follow the first
one. Values are as stored: no palette, inversion (WhiteIsZero) or orientation is applied; JPEG inside of TIFF is
converted from YCbCr to RGB.

Format: TIFF 6.0 (Adobe, 1992); ImageJ's and tifffile's descriptions as in tifffile's documentation of TiffFile.series.
"""

from collections.abc import Generator
from io import BytesIO
from math import prod

import numpy as np

from slicedfs.codecs.directories import TiffStructure
from slicedfs.codecs.fit import fit_header
from slicedfs.codecs.guard import check_size, translated
from slicedfs.codecs.planes import described_planes
from slicedfs.codecs.sparse import Need, SparseFile
from slicedfs.codecs.tifflayout import TiffLayout, read_layout
from slicedfs.codecs.tiffpages import TiffPages, check_run, check_segments, open_tiff, page_at, pages_of, spare_values
from slicedfs.codecs.tile import HEADER_BYTES, UNKNOWN_SIZE, Array, Bytes, TileHeader, TileRequest
from slicedfs.ranges import ByteRange

__all__ = ["TiffCodec"]

_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_ROUNDS = 32  # ranges read for one header
_NEEDED_BY_HEADER = frozenset((254, 256, 257, 258, 259, 262, 277, 284, 317, 322, 323, 338, 339, 32997))


class TiffCodec:
    """TIFF tiles; compressions other than deflate, PackBits and LZMA need imagecodecs."""

    name = "TIFF"
    extensions = (".tif", ".tiff", ".btf", ".tf8")

    def matches(self, head: bytes) -> bool:
        """Return whether `head` starts a TIFF or BigTIFF file."""
        return head.startswith(_MAGICS)

    def probe(self, url: str) -> Generator[ByteRange, bytes, TileHeader]:
        """Read the directories: one range where they lie at the start, two for a single one at the end.

        The number of planes is UNKNOWN_SIZE where more ranges would be needed to count them than are worth it.

        Raises
        ------
        CodecError
            The directories are not sound, or so large that they are not read.
        """
        file = SparseFile()
        for rounds in range(_MAX_ROUNDS):
            with translated(url, self.name, file.known_bytes):
                try:
                    return _header(file, may_ask=rounds < _MAX_ROUNDS - 1)
                except Need as need:
                    wanted = need.range
            data = yield wanted
            file.add(wanted.start, data, HEADER_BYTES)
        with translated(url, self.name, file.known_bytes):
            raise ValueError(f"its header needs more than {_MAX_ROUNDS} ranges of {HEADER_BYTES:,} bytes")

    def layout(self, request: TileRequest) -> Generator[ByteRange, bytes, TiffLayout | None]:
        """Read where the pixels lie; see :func:`slicedfs.codecs.tifflayout.read_layout`.

        Raises
        ------
        CodecError
            The file is damaged; its header disagrees with `request`.
        """
        return read_layout(request)

    def decode(self, data: Bytes, request: TileRequest) -> tuple[Array, tuple[str, ...]]:
        """Return the pixels; a read-only view of `data` where they are one run of bytes in native byte order.

        Raises
        ------
        CodecError
            The file is damaged or cut short; a strip or tile is absent; its header disagrees with `request`.
        MissingExtraError
            The compression needs imagecodecs.
        """
        with translated(request.url, self.name, len(data)):
            file = BytesIO(data)
            directories = list(TiffStructure(file, len(data)))
            pages = pages_of(open_tiff(file, len(data)), directories)
            header = pages.header
            check_size(header, request)
            fit_header(header, request)
            run = pages.run
            array = _decoded(pages, len(data)) if run is None else _viewed(pages, data, run)
            if (array.shape, array.dtype) != (header.shape, header.dtype):
                raise ValueError(f"it was decoded to {array.shape} of {array.dtype}, its header says {header}")
            return array, header.dims


def _header(file: SparseFile, *, may_ask: bool) -> TileHeader:
    """Return the header from what is known of the file; raise Need where more must be.

    Where that `may_ask` no longer, the number of planes is left open.
    """
    chain = iter(TiffStructure(file, file.known_bytes))
    directories = [next(chain)]
    spare_values(file, directories[0], _NEEDED_BY_HEADER)
    tiff = open_tiff(file, file.size)
    first = page_at(tiff, directories, 0)
    planes = described_planes(first, 1)
    if planes:
        return TiffPages((first,), planes).header
    try:
        for directory in chain:
            spare_values(file, directory, _NEEDED_BY_HEADER)
            directories.append(directory)
        return pages_of(tiff, directories).header
    except Need:
        if may_ask:
            raise
        return TiffPages((first,), (("z", UNKNOWN_SIZE),)).header


def _viewed(pages: TiffPages, data: Bytes, start: int) -> Array:
    """Return the pixels of a run of bytes from `start`."""
    check_run(pages, len(data))
    header = pages.header
    flat = np.frombuffer(data, pages.stored, prod(header.shape), start)
    array: Array = flat.astype(header.dtype, copy=False).reshape(header.shape)
    return array


def _decoded(pages: TiffPages, n_bytes: int) -> Array:
    """Return the pixels, page by page."""
    for page in pages.pages:
        check_segments(page, n_bytes)
    if not pages.planes:
        return pages.pages[0].asarray(maxworkers=1)
    header = pages.header
    array = np.empty((len(pages.pages), *pages.pages[0].shape), header.dtype)
    for plane, page in zip(array, pages.pages, strict=True):
        pixels = page.asarray(maxworkers=1)
        if (pixels.shape, pixels.dtype) != (plane.shape, plane.dtype):
            raise ValueError(f"a page was decoded to {pixels.shape} of {pixels.dtype}, not {plane.shape}")
        plane[...] = pixels
    return array.reshape(header.shape)
