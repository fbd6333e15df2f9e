"""Where the pixels of a TIFF file lie, from as few of its bytes as will tell. Pure."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from slicedfs.codecs.directories import Directory, TiffStructure
from slicedfs.codecs.fit import fit_header
from slicedfs.codecs.guard import check_size, translated
from slicedfs.codecs.hints import hint_of_run
from slicedfs.codecs.parts import Cut, Window
from slicedfs.codecs.planes import described_planes
from slicedfs.codecs.sparse import ENDLESS, Need, SparseFile
from slicedfs.codecs.tiffpages import (
    ESSENTIAL,
    TiffPages,
    check_run,
    check_segments,
    open_tiff,
    page_at,
    pages_of,
    spare_values,
)
from slicedfs.codecs.tiffparts import cut_pages, planes_in, stacked
from slicedfs.codecs.tiffproof import Proofs, infer_stack, prove_first
from slicedfs.codecs.tile import HEADER_BYTES, Bytes, TileHeader, TileRequest
from slicedfs.ranges import ByteRange

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["TiffLayout", "read_layout"]

_MAX_ROUNDS = 6
"""Ranges read for one layout; a chain of directories that takes more costs more time than whole files mostly do."""
_DESCRIPTION = 270
_MAX_GAP_BYTES = 7
"""How far behind the planes of a stack the second directory may lie, to be taken for theirs: writers align it."""


@dataclass(frozen=True, slots=True)
class TiffLayout:
    """Where the pixels lie."""

    pages: TiffPages
    """The pages that make up the tile."""
    header: TileHeader
    """What the file says of itself."""
    run: int | None
    """First byte of the pixels where they are one run of bytes, uncompressed; else None."""
    size: int
    """The smallest size of a file of this layout."""
    head: ByteRange | None
    """The bytes that decide on the layout; None where it does not repeat."""
    proofs: Proofs | None
    """How a part makes sure that directories lie where they are thought to; None where there is nothing to prove."""
    _data: bytes = field(repr=False)
    _request: TileRequest = field(repr=False)
    format: ClassVar[str] = "TIFF"

    @property
    def repeats(self) -> bool:
        """True where nothing is compressed, and the head, with the proofs in each part, decides on all positions."""
        return self.head is not None

    def confirms(self, head: Bytes) -> bool:
        """Return whether a file that starts with `head` has this layout: dates and texts in it may differ."""
        if self.head is None or head == self._data:
            return self.head is not None
        if len(head) != self.head.stop:
            return False
        file = SparseFile()
        try:
            file.add(0, bytes(head), len(head))
            other = _found(file, bytes(head), self._request)
        except (Exception, Need):  # noqa: BLE001 - a head that does not tell all confirms nothing
            return False
        return other.head == self.head and other.proofs == self.proofs and _positions(other) == _positions(self)

    def cut(self, window: Window) -> Cut:
        """Return the rows, strips or tiles that hold a window, and what proves that they are those.

        Raises
        ------
        ValueError
            A strip or tile is absent.
        """
        cut = cut_pages(self.pages, self.run, window)
        if self.proofs is None:
            return cut
        proven = self.proofs.cut(planes_in(self.pages, window))
        return stacked([proven, cut], lambda found: found[1])

    def hint(self) -> dict[str, Any] | None:
        """Return the hint for pixels in one run of bytes; None for others."""
        if self.run is None or not self.repeats or self.proofs is not None:
            return None
        return hint_of_run(self.run, self.header, self.pages.stored, "C")


def _positions(layout: TiffLayout) -> tuple[object, ...]:
    pages = layout.pages.pages
    tables = tuple([(page.dataoffsets, page.databytecounts) for page in pages])
    return layout.header, layout.size, layout.pages.stored.str, layout.run, tables


def read_layout(request: TileRequest) -> Generator[ByteRange, bytes, TiffLayout | None]:
    """Read the directories: one range where they lie at the start, two for a single one at the end.

    Of uncompressed stacks the first two directories do: where they, and the number of planes that the document or the
    file states, leave one reading, the positions of the others are inferred. Planes that fill exactly the room
    up to the second directory are taken for the stack; directories at equal distances are proven by each part for the
    planes that it touches.

    Returns
    -------
    TiffLayout or None
        None where the directories take more than six ranges.

    Raises
    ------
    CodecError
        The directories are not sound; strips are absent; the header disagrees with `request`.
    """
    file, head = SparseFile(), b""
    for _ in range(_MAX_ROUNDS):
        with translated(request.url, TiffLayout.format, file.known_bytes):
            try:
                return _found(file, head, request)
            except Need as need:
                wanted = need.range
        data = yield wanted
        head = head or data
        file.add(wanted.start, data, HEADER_BYTES)
    return None


def _found(file: SparseFile, head: bytes, request: TileRequest) -> TiffLayout:
    """Return the layout from what is known of the file; raise Need where more must be."""
    structure = TiffStructure(file, file.known_bytes)
    chain = iter(structure)
    directories = [next(chain)]
    several = directories[0].following != 0
    may_describe = several or (request.shape or {}).get("z", 1) > 1  # OME's, at the end of the file, is spared else
    spare_values(file, directories[0], ESSENTIAL | {_DESCRIPTION} if may_describe else ESSENTIAL)
    tiff = open_tiff(file, file.size)
    first = page_at(tiff, directories, 0)
    n_planes = _expected(first, request)
    if several and _fill_the_room(first, directories[0], n_planes):
        return _layout(file, head, request, TiffPages((first,), described_planes(first, n_planes)), directories)
    try:
        for directory in chain:
            spare_values(file, directory, ESSENTIAL)
            directories.append(directory)
    except Need:
        inferred = None
        if n_planes * first.nbytes <= request.max_bytes:
            inferred = infer_stack(tiff, file, structure, directories, n_planes)
        if inferred is None:
            raise
        return _layout(file, head, request, inferred[0], directories[:1], inferred[1])
    pages = pages_of(tiff, directories)
    proofs = None
    if len(directories) == 1 and first.is_final and directories[0].stop > HEADER_BYTES:
        proofs = prove_first(file, structure, directories[0])
    return _layout(file, head, request, pages, directories, proofs)


def _expected(first: "TiffPage", request: TileRequest) -> int:
    """Return the number of planes that the file describes, else the one that the document states."""
    described = prod(n for _, n in described_planes(first, 1))
    return described if described > 1 else int((request.shape or {}).get("z", 1))


def _fill_the_room(first: "TiffPage", directory: Directory, n_planes: int) -> bool:
    """Return whether so many planes fill the room between the first page's pixels and the second directory."""
    if n_planes < 2 or not first.is_final or directory.following == 0:  # noqa: PLR2004
        return False
    return 0 <= directory.following - (first.dataoffsets[0] + n_planes * first.nbytes) <= _MAX_GAP_BYTES


def _layout(
    file: SparseFile,
    head: bytes,
    request: TileRequest,
    pages: TiffPages,
    directories: list[Directory],
    proofs: Proofs | None = None,
) -> TiffLayout:
    """Return the layout of a file of these `pages`, on which `directories` and `proofs` decide; check it."""
    header = pages.header
    check_size(header, request)
    fit_header(header, request)
    n_bytes = None if file.size == ENDLESS else file.size
    run = pages.run
    if run is not None:
        check_run(pages, n_bytes)
    else:
        for page in pages.pages[: 2 if proofs else None]:  # the others are inferred from these
            check_segments(page, n_bytes)
    size = max(pages.stop, proofs.stop if proofs else 0)
    stop = max(map(_extent, directories))
    if not all(page.is_final for page in pages.pages):
        return TiffLayout(pages, header, run, size, None, None, b"", request)
    if stop <= HEADER_BYTES:
        proofs = proofs and replace(proofs, first=None)
    elif proofs is not None:
        stop = len(proofs.header)
    else:
        return TiffLayout(pages, header, run, size, None, None, b"", request)
    return TiffLayout(pages, header, run, size, ByteRange(0, stop), proofs, head[:stop], request)


def _extent(directory: Directory) -> int:
    """Return one past the last byte of what decides on the page of a directory."""
    values = [value.stop for value in directory.values() if value.tag in ESSENTIAL]
    described = [value.stop for value in directory.values() if value.tag == _DESCRIPTION]
    return max(directory.stop, *values, *[stop for stop in described if stop <= HEADER_BYTES], 0)
