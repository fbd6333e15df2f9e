"""Which codec reads a tile: by the format that the document states, the extension, or the first bytes."""

from importlib.metadata import EntryPoint, entry_points

from slicedfs.codecs.extra import EXTRA_CODECS
from slicedfs.codecs.jpeg import JpegCodec
from slicedfs.codecs.npy import NpyCodec
from slicedfs.codecs.png import PngCodec
from slicedfs.codecs.raw import RawCodec
from slicedfs.codecs.tiff import TiffCodec
from slicedfs.codecs.tile import Codec, TileRequest
from slicedfs.errors import CodecError, SlicedfsError

__all__ = ["known_formats", "register", "resolve", "stated_codec"]

ENTRY_POINT_GROUP = "slicedfs.codecs"
"""Installed packages offer codecs under this group: the name is the format's, the object a Codec or its class."""

_ALIASES = {
    "TIF": "TIFF",
    "NPY": "NUMPY",
    "JPG": "JPEG",
    "JP2": "JPEG2000",
    "J2K": "JPEG2000",
    "JXL": "JPEGXL",
}
_SHOWN_BYTES = 80
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_CONTAINERS = {
    b"PK\x03\x04": "a ZIP archive (an .npz file?)",
    b"\x1f\x8b": "gzip-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
}

_codecs: dict[str, Codec] = {}  # iterated over as tuples: another thread may register one meanwhile


def register(codec: Codec) -> None:
    """Make `codec` known to this process; one of the same name is replaced.

    Packages that are installed offer their codecs as entry points of the group "slicedfs.codecs" instead.
    """
    _codecs[codec.name.upper()] = codec


_BUILT_IN: tuple[Codec, ...] = (NpyCodec(), TiffCodec(), PngCodec(), JpegCodec(), RawCodec(), *EXTRA_CODECS)
for _codec in _BUILT_IN:
    register(_codec)


def known_formats() -> tuple[str, ...]:
    """Return the names of all formats, sorted; those of installed packages included, without importing them."""
    return tuple(sorted({*_codecs, *_offered()}))


def resolve(head: bytes, request: TileRequest) -> Codec:
    """Return the codec of a tile that starts with `head`.

    The document's word on the format comes first, then the extension; where the first bytes are those of another
    known format, they win; not over RAW, of which any bytes may be.

    Raises
    ------
    CodecError
        The tile is empty, or a document; its format is unknown.
    """
    if not head:
        raise CodecError(f"{request.url}: is empty (0 bytes). Check the file, or copy it again.", url=request.url)
    stated = stated_codec(request)
    if stated is not None and (isinstance(stated, RawCodec) or stated.matches(head)):
        return stated  # pixels without a header may start like anything
    actual = next((codec for codec in tuple(_codecs.values()) if codec.matches(head)), None)
    if actual is not None:
        return actual
    _refuse_foreign(head, request)
    if stated is None:
        raise CodecError(
            f"{request.url}: states no format, and its first bytes {head[:12]!r} are of none that is known "
            f"({', '.join(known_formats())}). State tile_format in the document.",
            url=request.url,
            value=head[:12],
        )
    return stated


def stated_codec(request: TileRequest) -> Codec | None:
    """Return the codec that the document, else the extension, names; None where they name none.

    Raises
    ------
    CodecError
        The document names a format that is not known.
    """
    if request.format is None:
        return next((codec for codec in tuple(_codecs.values()) if request.extension.lower() in codec.extensions), None)
    name = request.format.strip().upper()
    codec = _codecs.get(_ALIASES.get(name, name)) or _load(name, request)
    if codec is None:
        raise CodecError(
            f"{request.url}: is of the format {request.format!r}, which is not known (known: "
            f"{', '.join(known_formats())}). Correct tile_format in the document, or register a codec.",
            url=request.url,
            value=request.format,
        )
    return codec


def _offered() -> dict[str, EntryPoint]:
    return {point.name.upper(): point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _load(name: str, request: TileRequest) -> Codec | None:
    point = _offered().get(name)
    if point is None:
        return None
    try:
        found = point.load()
        codec: Codec = found() if isinstance(found, type) else found
        register(codec)
    except SlicedfsError:
        raise
    except Exception as error:
        raise CodecError(
            f"{request.url}: the codec {point.value!r} for the format {name!r} cannot be loaded: {error}. Repair or "
            f"remove the package that offers it.",
            url=request.url,
            value=request.format,
        ) from error
    _codecs.setdefault(name, codec)
    return codec


def _refuse_foreign(head: bytes, request: TileRequest) -> None:
    """Raise CodecError where `head` starts a document or a container, so that the message says so."""
    text = head
    for mark in _BYTE_ORDER_MARKS:
        text = text.removeprefix(mark)
    if text.lstrip(b" \t\r\n\0")[:1] in (b"<", b"{", b"["):
        raise CodecError(
            f"{request.url}: the server returned a document, not an image: {head[:_SHOWN_BYTES]!r}. Open the URL "
            f"in a browser to see what it says.",
            url=request.url,
            value=head[:_SHOWN_BYTES],
        )
    for magic, what in _CONTAINERS.items():
        if head.startswith(magic):
            raise CodecError(
                f"{request.url}: is {what}, not an image. Unpack it, and list the files inside.",
                url=request.url,
                value=head[: len(magic)],
            )
