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
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, cast

import numpy as np

from slicedfs.codecs.directories import Directory, TiffStructure
from slicedfs.codecs.fit import fit_header
from slicedfs.codecs.guard import check_size, translated
from slicedfs.codecs.planes import described_planes
from slicedfs.codecs.sparse import Need, SparseFile
from slicedfs.codecs.tile import HEADER_BYTES, UNKNOWN_SIZE, Array, Bytes, TileHeader, TileRequest
from slicedfs.ranges import ByteRange

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFrame, TiffPage

__all__ = ["TiffCodec", "TiffLayout"]

_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_ROUNDS = 32  # ranges read for one header
_REDUCED_OR_MASK = 0b101  # bits of NewSubfileType
# Tags without which tifffile falls back to a default that changes the pixels.
_ESSENTIAL = frozenset(
    (254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 347, 530, 32997)
)
_OFFSETS, _BYTE_COUNTS = (273, 324), (279, 325)
_ALIKE = _ESSENTIAL - {*_OFFSETS, *_BYTE_COUNTS}
_KEPT_BLANK = _ESSENTIAL | {33629, 34412}  # MetaMorph's and LSM's tags tell something by being there
_UNKNOWN_TAG = b"\xff\xff"
_NEEDED_BY_HEADER = frozenset((254, 256, 257, 258, 259, 262, 277, 284, 317, 322, 323, 338, 339, 32997))


@dataclass(frozen=True, slots=True)
class TiffLayout:
    """Where the pixels lie."""

    pages: "tuple[TiffPage | TiffFrame, ...]"
    """The directories whose pixels make up the tile, in their order."""
    planes: tuple[tuple[str, int], ...]
    """Name and size of the axes that the planes make up; () for a single plane."""

    @property
    def header(self) -> TileHeader:
        """What the file says of itself."""
        page = cast("TiffPage", self.pages[0])
        if page.dtype is None or len(page.shape) < 2:  # noqa: PLR2004
            raise ValueError(f"samples of {page.bitspersample} bits, format {page.sampleformat}, are not supported")
        dims = (*(dim for dim, _ in self.planes), *page.axes.lower())
        return TileHeader((*(n for _, n in self.planes), *page.shape), dims, page.dtype.newbyteorder("="))

    @property
    def run(self) -> int | None:
        """First byte of the pixels where all of them lie in one run of bytes, uncompressed; else None."""
        page = self.pages[0]
        if not all(each.is_final for each in self.pages):
            return None
        following = pairwise(self.pages)
        if any(a.dataoffsets[0] + a.nbytes != b.dataoffsets[0] for a, b in following):
            return None
        return int(page.dataoffsets[0])


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
            layout = _layout(_open(file, len(data)), directories)
            header = layout.header
            check_size(header, request)
            fit_header(header, request)
            run = layout.run
            array = _decoded(layout, len(data)) if run is None else _viewed(layout, data, run)
            if (array.shape, array.dtype) != (header.shape, header.dtype):
                raise ValueError(f"it was decoded to {array.shape} of {array.dtype}, its header says {header}")
            return array, header.dims


def _open(file: BytesIO | SparseFile, size: int) -> "TiffFile":
    from tifffile import TiffFile

    # In the formats of these vendors it would read all pages at once.
    return TiffFile(cast("BytesIO", file), size=size, offset=0, is_lsm=False, is_scanimage=False, is_ndpi=False)


def _layout(tiff: "TiffFile", directories: list[Directory]) -> TiffLayout:
    """Return the layout of a file with these `directories`, all of its chain."""
    first = _page(tiff, directories, 0)
    pages: list[TiffPage | TiffFrame] = [first]
    key = directories[0].same(_ALIKE)
    for i, directory in enumerate(directories[1:], 1):
        frame = _frame(first, directory, i) if directory.same(_ALIKE) == key else None
        if frame is not None:
            pages.append(frame)
            continue
        page = _page(tiff, directories, i)
        reduced = (page.subfiletype ^ first.subfiletype) & _REDUCED_OR_MASK
        if not reduced and (page.shape, page.dtype) == (first.shape, first.dtype):
            pages.append(page)
    planes = described_planes(first, len(pages))
    n_planes = prod(n for _, n in planes)
    if len(pages) < n_planes and not (len(pages) == 1 and first.is_final):
        raise ValueError(f"its description tells {n_planes} planes, but it has {len(pages)}")
    return TiffLayout(tuple(pages[:n_planes]), planes)


def _page(tiff: "TiffFile", directories: list[Directory], i: int) -> "TiffPage":
    """Return page `i`; an exception where tifffile left out a tag that decides on the pixels."""
    page = cast("TiffPage", tiff.pages[i])
    if page.offset != directories[i].offset:
        raise ValueError(f"its directory {i} could not be found at byte {directories[i].offset:,}")
    lost = [tag for tag in directories[i].tags & _ESSENTIAL if tag not in page.tags]
    if lost:
        raise ValueError(f"the tags {sorted(lost)} of its directory {i} are damaged")
    return page


def _frame(first: "TiffPage", directory: Directory, i: int) -> "TiffFrame | None":
    """Return page `i`, whose directory differs from that of `first` in its one strip only; None where it has more.

    Stacks of thousands of planes are opened several times as fast as when all tags of each page are parsed.
    """
    from tifffile import TiffFrame

    offset, count = directory.number(_OFFSETS), directory.number(_BYTE_COUNTS)
    if offset is None or count is None or first.jpegtables is not None:
        return None
    return TiffFrame(
        first.parent, i, offset=directory.offset, keyframe=first, dataoffsets=(offset,), databytecounts=(count,)
    )


def _header(file: SparseFile, *, may_ask: bool) -> TileHeader:
    """Return the header from what is known of the file; raise Need where more must be.

    Where that `may_ask` no longer, the number of planes is left open.
    """
    chain = iter(TiffStructure(file, file.known_bytes))
    directories = [next(chain)]
    _spare_values(file, directories[0])
    tiff = _open(file, file.size)
    first = _page(tiff, directories, 0)
    planes = described_planes(first, 1)
    if planes:
        return TiffLayout((first,), planes).header
    try:
        for directory in chain:
            _spare_values(file, directory)
            directories.append(directory)
        return _layout(tiff, directories).header
    except Need:
        if may_ask:
            raise
        return TiffLayout((first,), (("z", UNKNOWN_SIZE),)).header


def _spare_values(file: SparseFile, directory: Directory) -> None:
    """Spare reading values that do not decide on the shape: tables of strips, profiles, OME's XML."""
    for value in directory.values():
        if value.tag in _NEEDED_BY_HEADER or file.knows(value.start, value.stop):
            continue
        if value.tag in _KEPT_BLANK:
            file.blank(value.start, value.stop)
        else:
            file.overwrite(value.entry, _UNKNOWN_TAG)


def _viewed(layout: TiffLayout, data: Bytes, start: int) -> Array:
    """Return the pixels of a run of bytes from `start`."""
    header, page = layout.header, layout.pages[0]
    n_bytes = prod(header.shape) * header.dtype.itemsize
    if start < 8 or start + n_bytes > len(data):  # noqa: PLR2004  (the file's header)
        raise ValueError(f"it is cut short: its pixels lie in bytes {start:,} to {start + n_bytes:,}")
    if any(sum(each.databytecounts) < each.nbytes for each in layout.pages):
        raise ValueError("its strips hold fewer bytes than its shape needs")
    stored = header.dtype.newbyteorder(page.parent.byteorder)
    flat = np.frombuffer(data, stored, prod(header.shape), start)
    array: Array = flat.astype(header.dtype, copy=False).reshape(header.shape)
    return array


def _decoded(layout: TiffLayout, n_bytes: int) -> Array:
    """Return the pixels, page by page."""
    for page in layout.pages:
        _check_segments(page, n_bytes)
    if not layout.planes:
        return layout.pages[0].asarray(maxworkers=1)
    header = layout.header
    array = np.empty((len(layout.pages), *layout.pages[0].shape), header.dtype)
    for plane, page in zip(array, layout.pages, strict=True):
        pixels = page.asarray(maxworkers=1)
        if (pixels.shape, pixels.dtype) != (plane.shape, plane.dtype):
            raise ValueError(f"a page was decoded to {pixels.shape} of {pixels.dtype}, not {plane.shape}")
        plane[...] = pixels
    return array.reshape(header.shape)


def _check_segments(page: "TiffPage | TiffFrame", n_bytes: int) -> None:
    """Refuse strips and tiles that are absent or outside of the file: tifffile would fill them with zeros."""
    needed = prod(page.chunked)
    offsets, counts = page.dataoffsets, page.databytecounts
    if min(len(offsets), len(counts)) < needed:
        raise ValueError(f"it has {min(len(offsets), len(counts))} strips or tiles, its shape needs {needed}")
    for offset, count in zip(offsets[:needed], counts[:needed], strict=True):
        if offset < 8 or count < 1 or offset + count > n_bytes:  # noqa: PLR2004  (the file's header)
            raise ValueError(f"a strip or tile lies in bytes {offset:,} to {offset + count:,}: absent, or cut short")
    if page.is_contiguous and sum(counts[:needed]) < page.nbytes:
        raise ValueError("its strips hold fewer bytes than its shape needs")
