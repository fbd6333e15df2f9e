"""From a tile's bytes to its pixels, and from its first bytes to its header. Pure: the caller does the I/O."""

from collections.abc import Generator
from typing import TypeVar

from slicedfs.codecs.fit import fit, fit_header
from slicedfs.codecs.raw import RawCodec
from slicedfs.codecs.registry import resolve
from slicedfs.codecs.tile import HEADER_BYTES, Array, Bytes, TileHeader, TileRequest
from slicedfs.errors import CodecError
from slicedfs.ranges import ByteRange

__all__ = ["after", "decode", "probe"]

_SNIFFED_BYTES = 256
_T = TypeVar("_T")


def probe(request: TileRequest) -> Generator[ByteRange, bytes, TileHeader]:
    """Read a tile's header without I/O: yield the range wanted, be sent its bytes, return the header.

    The first range is the first `HEADER_BYTES`; further ones are rare (a TIFF directory at the end of the file), and
    at most as long, except that streams which tell their shape only when decoded ask for the whole file. Fewer bytes
    than asked for mean that the file ends.

    Returns
    -------
    TileHeader
        Axes in the order z, y, x, s, only those that the tile has.

    Raises
    ------
    CodecError
        The format is unknown; the bytes are not a header of it; the shape contradicts the stated one.
    MissingExtraError
        The format needs a library that is not installed.
    """
    head = yield ByteRange(0, HEADER_BYTES)
    codec = resolve(head, request)
    if isinstance(codec, RawCodec):
        return fit_header(codec.stated_header(request), request)
    header = yield from after(head, codec.probe(request.url))
    return fit_header(header, request)


def after(head: bytes, steps: Generator[ByteRange, bytes, _T]) -> Generator[ByteRange, bytes, _T]:
    """Run `steps`, and answer from `head`, the first bytes of the file, what lies inside it."""
    at_end = len(head) < HEADER_BYTES
    try:
        wanted = next(steps)
        while True:
            known = at_end or (wanted.stop is not None and wanted.stop <= len(head))
            wanted = steps.send(head[wanted.start : wanted.stop] if known else (yield wanted))
    except StopIteration as done:
        value: _T = done.value
        return value


def decode(data: Bytes, request: TileRequest, dims: tuple[str, ...] | None = None) -> Array:
    """Return the pixels of a whole file.

    Parameters
    ----------
    data
        All bytes of the file.
    request
        What the document says of the tile.
    dims
        The axes wanted, as ("y", "x"): one that the tile lacks is added with one element, one of one element that is
        not wanted is dropped. None: the axes that :func:`probe` tells.

    Returns
    -------
    numpy.ndarray
        The values as stored, of the file's dtype in native byte order: palettes, orientation, gamma and inversion
        are not applied. It may be read-only, and a view of `data`.

    Raises
    ------
    CodecError
        The format is unknown; the bytes are damaged, cut short or a document; the shape contradicts the stated one;
        the pixels declared exceed ``request.max_bytes``, before they are allocated.
    MissingExtraError
        The format needs a library that is not installed.
    """
    if isinstance(data, memoryview):
        data = data.cast("B")  # so that its length counts bytes
    codec = resolve(bytes(data[:_SNIFFED_BYTES]), request)
    array, found = codec.decode(data, request)
    if not array.dtype.isnative:
        raise CodecError(
            f"{request.url}: the codec {codec.name} returned {array.dtype!r}, which is not in native byte order. "
            f"Report this to its authors.",
            url=request.url,
            value=array.dtype,
        )
    return fit(array, found, request, dims)
