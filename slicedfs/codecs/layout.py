"""Where the pixels of one file lie, and the parts of it that hold a region: partial reads, sans I/O. Pure.

A layout is had from the first 16 KiB of nearly every file, and many files of a set have the same one. A part is exactly
the rows, strips or tiles that a region touches: a few columns of uncompressed pixels cost their rows.
"""

from collections.abc import Generator, Mapping
from typing import Any, Protocol

from slicedfs.codecs.decoding import after
from slicedfs.codecs.guard import translated
from slicedfs.codecs.parts import Cut, Part, Window, part_of
from slicedfs.codecs.raw import RawCodec, RawLayout, hinted_run
from slicedfs.codecs.regions import fit_region
from slicedfs.codecs.registry import resolve, stated_codec
from slicedfs.codecs.tile import HEADER_BYTES, Bytes, TileHeader, TileRequest
from slicedfs.ranges import ByteRange

__all__ = ["Layout", "fits_size", "hint_of", "hinted", "layout", "part"]


class Layout(Protocol):
    """Where the pixels of one file lie. Frozen; safe to use from any thread."""

    @property
    def header(self) -> TileHeader:
        """What the file says of itself, with its own axes."""

    @property
    def head(self) -> ByteRange | None:
        """The bytes, from 0, that decide on this layout where it `repeats`; None: nothing to check."""

    @property
    def repeats(self) -> bool:
        """True where other files of a set have the same layout if their `head` says so."""

    @property
    def size(self) -> int | None:
        """The smallest size in bytes that a file of this layout has; None: not known."""

    @property
    def format(self) -> str:
        """Name of the format, for messages."""

    def confirms(self, head: Bytes) -> bool:
        """Return whether a file whose `head` this is has exactly this layout; False where in doubt. Never raises."""

    def cut(self, window: Window) -> Cut:
        """Return the pieces that hold a window; any exception where the file is damaged."""

    def hint(self) -> dict[str, Any] | None:
        """Return what a document may say, so that the layout is known without a request; None: nothing."""


def layout(request: TileRequest) -> Generator[ByteRange, bytes, Layout | None]:
    """Read the layout of a file without I/O: yield the range wanted, be sent its bytes, return the layout.

    The first range is the first `HEADER_BYTES`; fewer bytes than asked for mean that the file ends. A file of the
    format RAW needs none.

    Returns
    -------
    Layout or None
        None where the file is read whole only: its format is a stream, or its layout costs too many ranges.

    Raises
    ------
    CodecError
        As for :func:`slicedfs.codecs.decode`: unknown format, damage, more pixels than allowed, another shape.
    """
    stated = stated_codec(request)
    if isinstance(stated, RawCodec):
        return stated.fixed_layout(request)
    head = yield ByteRange(0, HEADER_BYTES)
    steps = getattr(resolve(head, request), "layout", None)
    if steps is None:
        return None
    found: Layout | None = yield from after(head, steps(request))
    return found


def part(layout: Layout, request: TileRequest, dims: tuple[str, ...], region: tuple[slice, ...]) -> Part:
    """Return the bytes of a file that hold a region, and the way from them to its pixels.

    Parameters
    ----------
    layout
        Of this file. Where it comes from another one, the pixels are this file's only if
        ``layout.confirms(its head)``.
    request
        What the document says of the tile.
    dims
        The axes wanted, as in :func:`slicedfs.codecs.decode`.
    region
        Of each of `dims` the first pixel and one past the last, step 1, not empty.

    Raises
    ------
    CodecError
        The file's shape contradicts the stated one; the region leaves the tile; a strip or tile is absent.
    """
    fitted = fit_region(layout.header, request, dims, region)
    with translated(request.url, layout.format, layout.size or 0):
        return part_of(layout.cut(fitted.window), request.url, layout.format, fitted.fit)


def hinted(hint: Mapping[str, Any], request: TileRequest) -> Layout | None:
    """Return the layout that a document states in ``extras.slicedfs.layout``; None where it is not understood.

    Understood is ``{"kind": "raw", "offset": 256, "dtype": "<u2", "order": "C"}``: the pixels lie in one run of bytes.
    Their shape is the stated one of the tile. "size" (of the file, in bytes) and "shape" may be stated; a hint that
    contradicts itself or the tile's shape, or says more than this, is not understood.
    """
    return hinted_run(hint, request)


def hint_of(layout: Layout) -> dict[str, Any] | None:
    """Return the hint that makes :func:`hinted` give this layout; None where there is none."""
    return layout.hint()


def fits_size(layout: Layout, size: int | None) -> bool:
    """Return whether a file of `size` bytes (None: not known) may have this layout."""
    stated = layout.file_size if isinstance(layout, RawLayout) else None
    return size is None or ((layout.size is None or size >= layout.size) and stated in (None, size))
