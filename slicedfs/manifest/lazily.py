"""Texts, columns and values that are made when they are asked for: what a packed index gives."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from slicedfs.errors import ManifestError
from slicedfs.manifest.text import load_part
from slicedfs.model import Strings

__all__ = ["JsonRows", "LazyColumns", "ViewedStrings"]

A = TypeVar("A", bound=NDArray[Any])


class ViewedStrings(Strings):
    """Packed texts that lie in a file which is mapped into memory. Pickles as what it holds.

    Parameters
    ----------
    view
        All texts in UTF-8, one after the other.
    ends
        (n,): one past the last byte of each text.
    """

    __slots__ = ("_view",)
    _view: memoryview

    def __init__(self, view: memoryview, ends: NDArray[np.int64]) -> None:
        object.__setattr__(self, "_view", view)
        object.__setattr__(self, "ends", ends)

    @property
    def blob(self) -> bytes:
        """Return a copy of all texts."""
        return bytes(self._view)

    def __getitem__(self, i: int) -> str:
        start = int(self.ends[i - 1]) if i else 0
        try:
            return str(self._view[start : int(self.ends[i])], "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise ManifestError(
                f"An index holds a text that is not UTF-8: number {i}. Write the index again."
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return (Strings, (self.blob, np.array(self.ends)))


class LazyColumns(Mapping[str, A], Generic[A]):
    """Columns by name; each is made once, at its first use. Pickles as plain columns.

    Parameters
    ----------
    sources
        name -> what makes the column, and what of.
    """

    def __init__(self, sources: Mapping[str, tuple[Callable[[Any], A], Any]]) -> None:
        self._sources = sources
        self._made: dict[str, A] = {}

    def __getitem__(self, name: str) -> A:
        if name not in self._made:
            make, source = self._sources[name]
            self._made[name] = make(source)  # two threads may make it twice, and get equal ones
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        return name in self._sources  # Mapping's own would make the column

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (dict(self),))


class JsonRows(Mapping[int, Any]):
    """Values of some tiles, as JSON text until they are asked for.

    Parameters
    ----------
    tiles
        (n,) numbers of the tiles, ascending.
    texts
        n texts of JSON.
    """

    def __init__(self, tiles: NDArray[np.int64], texts: Strings) -> None:
        self._tiles, self._texts = tiles, texts

    def __getitem__(self, tile: int) -> Any:
        at = int(np.searchsorted(self._tiles, tile))
        if at == len(self._tiles) or self._tiles[at] != tile:
            raise KeyError(tile)
        text = self._texts[at]
        try:
            return load_part(text.encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"An index holds a value of tiles[{tile}] that is not JSON: {error}") from error

    def __iter__(self) -> Iterator[int]:
        return iter(self._tiles.tolist())

    def __len__(self) -> int:
        return len(self._tiles)

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (dict(self),))
