"""What is known of the layouts of the files of one source: stated, learned from other tiles, or seen."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from slicedfs import codecs
from slicedfs.source import TileSource, hints

__all__ = ["Knowledge", "Seen", "knowledge_of"]

_Format = tuple[str | None, str]
"""As stated, and the extension of the URL."""
_MOST = 1 << 16
_MOST_TABLES = 1 << 12
_MOST_CHOICES = 64


class Seen:
    """A layout that was read from, or checked against, the header of one tile."""

    __slots__ = ("etag", "layout")

    def __init__(self, layout: codecs.Layout, etag: str | None) -> None:
        self.layout = layout
        self.etag = etag
        """Of the file at that time; None where unknown."""


class Knowledge:
    """The layouts of one source. Used on the I/O loop only.

    Attributes
    ----------
    choices
        How parts of files that are alike were chosen lately.
    """

    def __init__(self, source: TileSource) -> None:
        self._patterns: dict[_Format, codecs.Layout] = {}
        if source.probed is not None:  # the header read at open was that of the first tile, unless it was absent
            self.learn(source.tile_request(0, source.tile_url(0)), source.probed)
        self._hint = _stated(source)
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._tables: OrderedDict[int, Seen] = OrderedDict()
        self.choices: dict[Hashable, Any] = {}
        self._whole: set[_Format] = set()

    def hint(self, request: codecs.TileRequest) -> codecs.Layout | None:
        """Return the layout that the document states for the file of `request`, which needs no header."""
        return None if self._hint is None else codecs.hinted(self._hint, request)

    def drop_hint(self) -> None:
        """Forget what the document states: it is not so."""
        self._hint = None

    def seen(self, tile: int) -> Seen | None:
        """Return what was seen of tile `tile`."""
        return self._seen.get(tile) or self._tables.get(tile)

    def see(self, tile: int, layout: codecs.Layout, etag: str | None) -> None:
        """Keep the layout of tile `tile`; those used last are kept."""
        kept, most = (self._seen, _MOST) if layout.repeats else (self._tables, _MOST_TABLES)
        kept[tile] = Seen(layout, etag)
        if len(kept) > most:
            kept.popitem(last=False)

    def pattern(self, request: codecs.TileRequest) -> codecs.Layout | None:
        """Return a layout that the file of `request` is likely to share, to be checked; None: none is known.

        Raises
        ------
        CodecError
            The document says that the file is RAW, and not what is in it.
        """
        key = (request.format, request.extension)
        found = self._patterns.get(key)
        if found is None and request.raw is not None and key not in self._whole:
            steps = codecs.layout(request)
            try:
                next(steps)
            except StopIteration as stop:  # no byte of the file is needed to know
                found = stop.value
            else:
                steps.close()
            if found is not None:
                self.learn(request, found)
        return found

    def learn(self, request: codecs.TileRequest, layout: codecs.Layout) -> None:
        """Expect the layout of one file of others of its format."""
        if layout.repeats:
            self._patterns[request.format, request.extension] = layout

    def forget(self, tile: int) -> None:
        """Forget what was seen of tile `tile`: the file has changed."""
        self._seen.pop(tile, None)
        self._tables.pop(tile, None)

    def remember(self, key: Hashable, choice: Any) -> None:
        """Keep a choice for tiles that are alike; a few are enough, since tiles of one read mostly are."""
        if len(self.choices) >= _MOST_CHOICES:
            self.choices.clear()
        self.choices[key] = choice

    def is_whole(self, request: codecs.TileRequest) -> bool:
        """Say whether files of this format were seen to be such that they are read whole."""
        return (request.format, request.extension) in self._whole

    def see_whole(self, request: codecs.TileRequest) -> None:
        """Keep in mind that files of this format are read whole."""
        self._whole.add((request.format, request.extension))


_known: "WeakKeyDictionary[TileSource, Knowledge]" = WeakKeyDictionary()


def knowledge_of(source: TileSource) -> Knowledge:
    """Return what is known of `source`."""
    found = _known.get(source)
    if found is None:
        found = _known[source] = Knowledge(source)
    return found


def _stated(source: TileSource) -> Mapping[str, Any] | None:
    stated = hints(source.document).get("layout")
    return stated if isinstance(stated, Mapping) else None
