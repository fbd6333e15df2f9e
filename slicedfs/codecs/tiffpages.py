"""The pages of a TIFF file that make up a tile, through tifffile. Pure."""

from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from math import prod
from operator import add
from typing import TYPE_CHECKING, cast

from slicedfs.codecs.directories import Directory
from slicedfs.codecs.planes import described_planes
from slicedfs.codecs.sparse import SparseFile
from slicedfs.codecs.tile import TileHeader

if TYPE_CHECKING:
    import numpy as np
    from tifffile import TiffFile, TiffFrame, TiffPage

__all__ = [
    "ALIKE",
    "ESSENTIAL",
    "KEPT_BLANK",
    "OFFSETS",
    "TiffPages",
    "check_run",
    "check_segments",
    "open_tiff",
    "page_at",
    "pages_of",
    "spare_values",
]

_REDUCED_OR_MASK = 0b101  # bits of NewSubfileType
# Tags without which tifffile falls back to a default that changes the pixels.
ESSENTIAL = frozenset(
    (254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 347, 530, 32997)
)
OFFSETS, _BYTE_COUNTS = (273, 324), (279, 325)
ALIKE = ESSENTIAL - {*OFFSETS, *_BYTE_COUNTS}
KEPT_BLANK = ESSENTIAL | {33629, 34412}  # MetaMorph's and LSM's tags tell something by being there
_UNKNOWN_TAG = b"\xff\xff"
_FIRST_BYTE = 8  # before it lies the header of the file


@dataclass(frozen=True, slots=True)
class TiffPages:
    """The pages of a tile, and what they mean."""

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
    def stored(self) -> "np.dtype[np.generic]":
        """The dtype of pixels that are not compressed."""
        return self.header.dtype.newbyteorder(self.pages[0].parent.byteorder)

    @property
    def stop(self) -> int:
        """One past the last byte of the pixels."""
        run = self.run
        if run is not None:
            header = self.header
            return run + prod(header.shape) * header.dtype.itemsize
        return int(max(max(map(add, page.dataoffsets, page.databytecounts)) for page in self.pages))

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


def open_tiff(file: BytesIO | SparseFile, size: int) -> "TiffFile":
    """Let tifffile read the header and the first directory of a file of `size` bytes."""
    from tifffile import TiffFile

    # In the formats of these vendors it would read all pages at once.
    return TiffFile(cast("BytesIO", file), size=size, offset=0, is_lsm=False, is_scanimage=False, is_ndpi=False)


def pages_of(tiff: "TiffFile", directories: list[Directory]) -> TiffPages:
    """Return the pages of a file with these `directories`, all of its chain.

    Raises
    ------
    ValueError
        A directory is damaged; the description of the first one tells another number of planes.
    """
    first = page_at(tiff, directories, 0)
    pages: list[TiffPage | TiffFrame] = [first]
    key = directories[0].same(ALIKE)
    for i, directory in enumerate(directories[1:], 1):
        frame = _frame(first, directory, i) if directory.same(ALIKE) == key else None
        if frame is not None:
            pages.append(frame)
            continue
        page = page_at(tiff, directories, i)
        reduced = (page.subfiletype ^ first.subfiletype) & _REDUCED_OR_MASK
        if not reduced and (page.shape, page.dtype) == (first.shape, first.dtype):
            pages.append(page)
    planes = described_planes(first, len(pages))
    n_planes = prod(n for _, n in planes)
    if len(pages) < n_planes and not (len(pages) == 1 and first.is_final):
        raise ValueError(f"its description tells {n_planes} planes, but it has {len(pages)}")
    return TiffPages(tuple(pages[:n_planes]), planes)


def page_at(tiff: "TiffFile", directories: list[Directory], i: int) -> "TiffPage":
    """Return page `i`.

    Raises
    ------
    ValueError
        tifffile left out a tag that decides on the pixels.
    """
    page = cast("TiffPage", tiff.pages[i])
    if page.offset != directories[i].offset:
        raise ValueError(f"its directory {i} could not be found at byte {directories[i].offset:,}")
    lost = [tag for tag in directories[i].tags & ESSENTIAL if tag not in page.tags]
    if lost:
        raise ValueError(f"the tags {sorted(lost)} of its directory {i} are damaged")
    return page


def _frame(first: "TiffPage", directory: Directory, i: int) -> "TiffFrame | None":
    """Return page `i`, whose directory differs from that of `first` in its one strip only; None where it has more.

    Stacks of thousands of planes are opened several times as fast as when all tags of each page are parsed.
    """
    from tifffile import TiffFrame

    offset, count = directory.number(OFFSETS), directory.number(_BYTE_COUNTS)
    if offset is None or count is None or first.jpegtables is not None:
        return None
    return TiffFrame(
        first.parent, i, offset=directory.offset, keyframe=first, dataoffsets=(offset,), databytecounts=(count,)
    )


def spare_values(file: SparseFile, directory: Directory, needed: frozenset[int]) -> None:
    """Spare reading values of tags that are not `needed`: profiles, OME's XML, for a header also tables of strips."""
    for value in directory.values():
        if value.tag in needed or file.knows(value.start, value.stop):
            continue
        if value.tag in KEPT_BLANK:
            file.blank(value.start, value.stop)
        else:
            file.overwrite(value.entry, _UNKNOWN_TAG)


def check_segments(page: "TiffPage | TiffFrame", n_bytes: int | None = None) -> None:
    """Refuse strips and tiles that are absent, or outside of a file of `n_bytes`: tifffile would fill them with zeros.

    Raises
    ------
    ValueError
        There are such strips.
    """
    needed = prod(page.chunked)
    offsets, counts = page.dataoffsets[:needed], page.databytecounts[:needed]
    if min(len(offsets), len(counts)) < needed:
        raise ValueError(f"it has {min(len(offsets), len(counts))} strips or tiles, its shape needs {needed}")
    last = max(map(add, offsets, counts)) if n_bytes is None else n_bytes
    if min(offsets) < _FIRST_BYTE or min(counts) < 1 or max(map(add, offsets, counts)) > last:
        offset, count = next(
            (at, n) for at, n in zip(offsets, counts, strict=True) if at < _FIRST_BYTE or n < 1 or at + n > last
        )
        raise ValueError(f"a strip or tile lies in bytes {offset:,} to {offset + count:,}: absent, or cut short")
    if page.is_contiguous and sum(counts) < page.nbytes:
        raise ValueError("its strips hold fewer bytes than its shape needs")


def check_run(pages: TiffPages, n_bytes: int | None = None) -> None:
    """Refuse pixels in one run of bytes that are absent, or outside of a file of `n_bytes`.

    Raises
    ------
    ValueError
        They are.
    """
    start, stop = pages.run or 0, pages.stop
    if start < _FIRST_BYTE or (n_bytes is not None and stop > n_bytes):
        raise ValueError(f"it is cut short: its pixels lie in bytes {start:,} to {stop:,}")
    if any(sum(each.databytecounts) < each.nbytes for each in pages.pages):
        raise ValueError("its strips hold fewer bytes than its shape needs")
