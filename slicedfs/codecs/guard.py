"""The border to foreign decoders: what they raise becomes CodecError, what they may allocate is bounded. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

from slicedfs.codecs.tile import TileHeader, TileRequest
from slicedfs.errors import CodecError, MissingExtraError, SlicedfsError

__all__ = ["check_size", "damaged", "missing_extra", "translated"]


def damaged(url: str, format_: str, n_bytes: int, problem: object) -> CodecError:
    """Return the error for `n_bytes` bytes that cannot be read as `format_`."""
    return CodecError(
        f"{url}: cannot be read as {format_} ({n_bytes:,} bytes): {problem}. Check the file, or copy it again.",
        url=url,
    )


def missing_extra(url: str, need: str) -> MissingExtraError:
    """Return the error for a tile whose decoding needs imagecodecs; `need` says what of it does."""
    return MissingExtraError(f"{url}: {need} needs imagecodecs. pip install 'slicedfs[codecs]'", url=url)


@contextmanager
def translated(url: str, format_: str, n_bytes: int) -> Iterator[None]:
    """Translate whatever is raised inside into CodecError, or MissingExtraError where a library is missing.

    Decoders raise nearly every builtin exception on damaged bytes, MemoryError on sizes that lie; the bytes are
    at fault in each case. Errors of slicedfs pass unchanged, and so does what is no Exception.
    """
    try:
        yield
    except SlicedfsError:
        raise
    except Exception as error:
        text = str(error) or type(error).__name__
        if isinstance(error, ImportError) or "requires the 'imagecodecs' package" in text:
            raise missing_extra(url, f"this {format_} file ({text})") from error
        raise damaged(url, format_, n_bytes, text[:300]) from error


def check_size(header: TileHeader, request: TileRequest) -> None:
    """Refuse a tile that declares no pixels, or more bytes of them than `request` allows.

    Raises
    ------
    CodecError
        It does.
    """
    n_bytes = prod(header.shape) * header.dtype.itemsize
    if min(header.shape, default=0) < 1:
        raise CodecError(
            f"{request.url}: declares the shape {header.shape}, which holds no pixels. Check the file.",
            url=request.url,
            value=header.shape,
        )
    if n_bytes > request.max_bytes:
        raise CodecError(
            f"{request.url}: declares {n_bytes:,} bytes of pixels, shape {header.shape} of {header.dtype}, but a tile "
            f"may have {request.max_bytes:,}. Raise max_tile_bytes if the file is right.",
            url=request.url,
            value=n_bytes,
        )
