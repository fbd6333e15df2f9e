"""What a document says, as frozen values. Pure: no I/O, no references followed.

Tiles lie in columns (one numpy array or packed text per property), not in objects, so that a document of a million
tiles costs megabytes and milliseconds.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CollectionDocument", "Document", "Part", "Strings", "TileSetDocument", "Tiles"]


@dataclass(frozen=True, slots=True, eq=False)
class Strings:
    """A packed, immutable list of texts."""

    blob: bytes
    """All texts in UTF-8, one after the other."""
    ends: NDArray[np.int64]
    """(n,): one past the last byte of each text in ``blob``."""

    @classmethod
    def pack(cls, texts: Iterable[str]) -> "Strings":
        """Pack `texts`, in order; lone surrogates survive."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        return cls(b"".join(encoded), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> str:
        start = int(self.ends[i - 1]) if i else 0
        return self.blob[start : int(self.ends[i])].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """The n tiles of a tile set, in the order of the document, in columns."""

    files: Strings
    """(n,) references as written in the document, not resolved."""
    indices: Mapping[str, NDArray[np.int64]]
    """dim -> (n,) labels as written, >= 0, for every dim of the index axes; complete (no gaps)."""
    coordinates: Mapping[str, NDArray[np.float64]]
    """name -> (n, 2) ranges as written (a scalar v is (v, v)); NaN where a tile does not state it."""
    shapes: tuple[Mapping[str, int], ...] = ()
    """The distinct tile shapes stated by tiles, each dim -> pixels."""
    shape_codes: NDArray[np.int32] | None = None
    """(n,) position in `shapes`; -1 where a tile states none; None where no tile does."""
    formats: tuple[str, ...] = ()
    """The distinct tile formats stated by tiles, as written."""
    format_codes: NDArray[np.int32] | None = None
    """(n,) position in `formats`; -1 where a tile states none; None where no tile does."""
    sha256: NDArray[np.uint8] | None = None
    """(n, 32) digests; rows without one are zero; None where no tile has one."""
    has_sha256: NDArray[np.bool_] | None = None
    """(n,) which tiles have a digest; None where no tile has one."""
    extras: Mapping[int, Any] = field(default_factory=dict)
    """tile -> its ``extras`` as written, any JSON; tiles without, or with {}, are left out."""
    unknown: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """tile -> keys that the format does not define, as written."""

    def __len__(self) -> int:
        return len(self.files)

    def shape(self, i: int) -> Mapping[str, int] | None:
        """Return the shape stated by tile `i`, dim -> pixels; None where it states none."""
        code = -1 if self.shape_codes is None else int(self.shape_codes[i])
        return None if code < 0 else self.shapes[code]

    def format(self, i: int) -> str | None:
        """Return the format stated by tile `i`, as written; None where it states none."""
        code = -1 if self.format_codes is None else int(self.format_codes[i])
        return None if code < 0 else self.formats[code]

    def digest(self, i: int) -> bytes | None:
        """Return the 32 bytes of tile `i`'s sha256; None where it has none."""
        if self.sha256 is None or self.has_sha256 is None or not self.has_sha256[i]:
            return None
        return bytes(self.sha256[i])

    def where(self, i: int) -> str:
        """Return the labels of tile `i` as ``r=1, c=2``, for messages."""
        return ", ".join(f"{dim}={int(column[i])}" for dim, column in self.indices.items())


@dataclass(frozen=True, slots=True)
class Part:
    """Tiles of one document among those of several."""

    name: str
    """Its path below the collection."""
    url: str = field(repr=False)
    """Where it was read from; absolute. The references of its tiles are relative to it."""
    start: int
    """Number of its first tile."""


@dataclass(frozen=True, slots=True, eq=False)
class TileSetDocument:
    """A document with ``tiles``, or the tile sets of a collection put together (see :mod:`slicedfs.layout.merge`)."""

    url: str = field(repr=False)
    """Where the document was read from; absolute. Its query may be a secret, so no repr shows it."""
    version: str
    """As written."""
    dimensions: tuple[str, ...]
    """As written; the order carries no meaning (writers emit it at random)."""
    shape: Mapping[str, int]
    """index dim -> stated count, in the order of the document, without x and y."""
    tiles: Tiles
    """All tiles."""
    default_tile_shape: Mapping[str, int] | None = None
    """dim -> pixels; None where not stated."""
    default_tile_format: str | None = None
    """As written; None where not stated."""
    extras: Any = None
    """As written, any JSON."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Keys that the format does not define, as written."""
    parts: tuple[Part, ...] = ()
    """Of several documents put together, where the tiles of each begin, ascending; () for one."""
    stack: str | None = None
    """The index dim along which they were stacked; its labels are positions in `parts`."""

    def part_of(self, i: int) -> Part:
        """Return the document that lists tile `i`."""
        if not self.parts:
            return Part("", self.url, 0)
        return self.parts[bisect_right(self.parts, i, key=lambda part: part.start) - 1]

    def where(self, i: int) -> str:
        """Return the labels of tile `i` as ``r=1, c=2``; of a stack, with the name of the member."""
        if not self.stack:
            return self.tiles.where(i)
        others = {dim: int(column[i]) for dim, column in self.tiles.indices.items() if dim != self.stack}
        labels = {self.stack: self.part_of(i).name, **others}
        return ", ".join(f"{dim}={label}" for dim, label in labels.items())

    def tile_shape(self, i: int) -> Mapping[str, int] | None:
        """Return the shape that holds for tile `i`: its own, else the default, else None."""
        own = self.tiles.shape(i)
        return self.default_tile_shape if own is None else own

    def tile_format(self, i: int) -> str | None:
        """Return the format that holds for tile `i`: its own, else the default, else None."""
        own = self.tiles.format(i)
        return self.default_tile_format if own is None else own


@dataclass(frozen=True, slots=True, eq=False)
class CollectionDocument:
    """A document with ``contents``, or a SpaceTx experiment, whose contents are its images."""

    url: str = field(repr=False)
    """Where the document was read from; absolute. Its query may be a secret, so no repr shows it."""
    version: str
    """As written."""
    contents: Mapping[str, str]
    """name -> reference as written, in the order of the document."""
    kind: str = "collection"
    """"collection" or "experiment"."""
    codebook: str | None = None
    """Reference of a SpaceTx experiment's codebook, as written; never read."""
    extras: Any = None
    """As written, any JSON."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Keys that the format does not define, as written."""

    @property
    def noun(self) -> str:
        """Return what it is, with an article: "a collection" or "an experiment"."""
        return f"{'an' if self.kind == 'experiment' else 'a'} {self.kind}"


Document = CollectionDocument | TileSetDocument
