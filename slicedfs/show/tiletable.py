"""The tiles of a document as a pandas DataFrame, one row a tile."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slicedfs.errors import ManifestError
from slicedfs.model import Strings, Tiles, TileSetDocument
from slicedfs.url import Base, redact

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TileTable"]

_MARK = "slicedfs-name"
_PLAIN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*+/)*+[A-Za-z0-9_-][A-Za-z0-9._-]*+")
"""Relative references that resolving and redacting leave as they are."""
_DIMS = ("z", "y", "x", "s")
_COLUMNS = ("file", "url", "format", "shape", "sha256", "extras", "unknown")


@dataclass(frozen=True, slots=True, eq=False)
class TileTable(Tiles):
    """The tiles of a tile set, in columns, which know the document that lists them."""

    document: TileSetDocument | None = None
    """The document; never None where :meth:`of` made it."""

    @classmethod
    def of(cls, document: TileSetDocument) -> "TileTable":
        """Return the tiles of `document`; copies nothing."""
        tiles = document.tiles
        own = {name: getattr(tiles, name) for name in Tiles.__dataclass_fields__}
        return cls(**own, document=document)

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row a tile, in the order of the document; no I/O.

        Returns
        -------
        pandas.DataFrame
            One int column a dim (its labels), ``<name>_min`` and ``<name>_max`` a coordinate (floats; NaN where not
            stated), and:

            file
                Reference as written.
            url
                Where it leads, redacted; None where it leads nowhere.
            format
                As written, the document's default where the tile states none; None where neither does. Categorical.
            shape
                Pixels as a tuple in (z, y, x), likewise.
            sha256
                64 hex digits, or None.
            extras, unknown
                As written: any JSON, and keys that the format does not define; None where there are none.

            The label column of a dim with one of these names has "_label" behind it.
        """
        import pandas as pd

        document = self.document
        files = _texts(self.files)
        columns: dict[str, Any] = {f"{d}_label" if d in _COLUMNS else d: of for d, of in self.indices.items()}
        for name, ranges in self.coordinates.items():
            columns[f"{name}_min"], columns[f"{name}_max"] = np.fmin(*ranges.T), np.fmax(*ranges.T)
        columns["file"] = files
        columns["url"] = list(_urls(files, document))
        formats = [*self.formats, None if document is None else document.default_tile_format]
        columns["format"] = pd.Categorical(_looked_up(self.format_codes, formats, len(files)))
        shapes = [*map(_as_tuple, self.shapes), None if document is None else _as_tuple(document.default_tile_shape)]
        columns["shape"] = _looked_up(self.shape_codes, shapes, len(files))
        columns["sha256"] = self._hex_digests()
        columns["extras"] = _spread(self.extras, len(files))
        columns["unknown"] = _spread(self.unknown, len(files))
        return pd.DataFrame(columns)

    def _hex_digests(self) -> NDArray[np.object_]:
        found = np.full(len(self), None, object)
        if self.sha256 is not None and self.has_sha256 is not None:
            digits = self.sha256[self.has_sha256].tobytes().hex()
            found[self.has_sha256] = [digits[i : i + 64] for i in range(0, len(digits), 64)]
        return found


def _texts(packed: Strings) -> list[str]:
    """Unpack all at once, several times faster than one by one."""
    if not packed.blob.isascii():
        return list(packed)
    text, ends = packed.blob.decode("ascii"), packed.ends.tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _urls(files: list[str], document: TileSetDocument | None) -> Iterator[str | None]:
    """Give the URL of each file; plain names are put between what is the same for all of them."""
    if document is None:
        yield from [None] * len(files)
        return
    base = Base(document.url)
    before, _, after = redact(base.join(_MARK)).rpartition(_MARK)
    for file in files:
        yield f"{before}{file}{after}" if _PLAIN.fullmatch(file) else _url(base, file)


def _url(base: Base, file: str) -> str | None:
    try:
        return redact(base.join(file))
    except ManifestError:
        return None


def _as_tuple(shape: Mapping[str, int] | None) -> tuple[int, ...] | None:
    return None if shape is None else tuple(shape[dim] for dim in _DIMS if dim in shape)


def _looked_up(codes: NDArray[np.int32] | None, values: list[Any], count: int) -> NDArray[np.object_]:
    """Return the value of each tile; the last one stands for -1, and for all where there are no codes."""
    table = np.empty(len(values), object)
    for i, value in enumerate(values):  # not at once: numpy would take tuples apart
        table[i] = value
    return table[np.full(count, -1) if codes is None else codes]


def _spread(values: Mapping[int, Any], count: int) -> NDArray[np.object_]:
    column = np.full(count, None, object)
    for i, value in values.items():
        column[i] = value
    return column
