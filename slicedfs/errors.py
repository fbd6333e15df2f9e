"""Every exception and warning that slicedfs raises.

::

    SlicedfsError
      ManifestError(ValueError)          a document breaks a rule of the format
      UrlPolicyError(PermissionError)    a document leads where it may not lead
      StoreError(OSError)                bytes could not be had
        MissingTileError(FileNotFoundError)   a listed file is absent
        ChecksumError(ValueError)             bytes differ from their sha256
      CodecError(ValueError)             bytes are not the pixels they should be
      SpecError(ValueError)              a tile specification breaks a rule
      MissingExtraError(ImportError)     an optional library is not installed

    SlicedfsWarning(UserWarning)
      GraphSizeWarning                   chunks= makes a graph that dask is slow with
      ManifestWarning                    a document is odd, but can be read
      MissingTileWarning                 absent files were read as fill_value

Each error also is the builtin that callers expect, so ``except FileNotFoundError`` works. URLs in messages and
attributes have passed :func:`slicedfs.url.redact`: no secrets.
"""

from typing import Any

__all__ = [
    "ChecksumError",
    "CodecError",
    "GraphSizeWarning",
    "ManifestError",
    "ManifestWarning",
    "MissingExtraError",
    "MissingTileError",
    "MissingTileWarning",
    "SlicedfsError",
    "SlicedfsWarning",
    "SpecError",
    "StoreError",
    "UrlPolicyError",
]


class SlicedfsError(Exception):
    """Base of all errors of slicedfs.

    Attributes
    ----------
    url
        The document or tile concerned, redacted; None where there is none.
    pointer
        The place inside the document, as ``tiles[3].indices.r``; None where there is none.
    value
        The value that was refused; None where there is none.
    """

    url: str | None
    pointer: str | None
    value: Any

    def __init__(
        self, message: str, *, url: str | None = None, pointer: str | None = None, value: object = None
    ) -> None:
        super().__init__(message)
        self.url, self.pointer, self.value = url, pointer, value


class ManifestError(SlicedfsError, ValueError):
    """A document breaks a rule of the format."""


class UrlPolicyError(SlicedfsError, PermissionError):
    """A document refers to a URL that it may not lead to."""


class StoreError(SlicedfsError, OSError):
    """Bytes could not be read or written.

    Attributes
    ----------
    status
        HTTP status of the last try; None where there was none.
    tries
        How often it was tried; None where nothing was.
    """

    status: int | None = None
    tries: int | None = None


class MissingTileError(StoreError, FileNotFoundError):
    """A file that a document lists, or a document itself, is absent."""


class ChecksumError(StoreError, ValueError):
    """The bytes of a tile differ from the sha256 in its document."""


class CodecError(SlicedfsError, ValueError):
    """The bytes of a tile are not the pixels that the document promises."""


class SpecError(SlicedfsError, ValueError):
    """A tile specification breaks a rule."""


class MissingExtraError(SlicedfsError, ImportError):
    """An optional library is needed that is not installed."""


class SlicedfsWarning(UserWarning):
    """Base of all warnings of slicedfs."""


class GraphSizeWarning(SlicedfsWarning):
    """The chunks asked for are so many that dask is slow with them."""


class ManifestWarning(SlicedfsWarning):
    """A document is odd, but can be read."""


class MissingTileWarning(SlicedfsWarning):
    """Absent files were read as fill_value, as on_missing="fill" asks."""
