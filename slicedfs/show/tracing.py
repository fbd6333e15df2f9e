"""trace(): what was requested inside a block, as numbers and as a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from slicedfs.events import Event, FileRead, Kind, Requested, listen
from slicedfs.ranges import ByteRange
from slicedfs.show.sizes import shown

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["Trace", "TracedRequest", "trace"]

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class TracedRequest:
    """One request; each try counts."""

    kind: Kind
    """"document", "tile", or "header": the first bytes of a tile, read at open."""
    labels: str
    """Labels of a tile that was read, as "r=1, c=2"; else ""."""
    url: str
    """Redacted."""
    byte_range: ByteRange
    """Bytes asked for."""
    seconds: float
    """How long it took."""
    bytes: int
    """Bytes that came."""
    failed: str | None
    """Why it gave nothing; None where it gave its bytes."""


class Trace:
    """What was requested inside ``with slicedfs.trace() as t``; grows while the block is open, stays after it.

    Its repr is a table.
    """

    def __init__(self) -> None:
        self._requests: list[Requested] = []  # lists only ever grow, by one thread, so that they can be read meanwhile
        self._files: list[FileRead] = []
        self._blocks: list[AbstractContextManager[None]] = []

    def __enter__(self) -> Self:
        block = listen(self._hear)
        block.__enter__()
        self._blocks.append(block)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        self._blocks.pop().__exit__(kind, error, traceback)

    @property
    def requests(self) -> int:
        """Requests that are over, each try of each file."""
        return len(self._requests)

    @property
    def failed(self) -> int:
        """Requests that gave no bytes: absent files, tries that were repeated, cancelled ones."""
        return sum(request.failed is not None for request in self._requests)

    @property
    def documents(self) -> int:
        """Documents read and parsed; those that were known already cost nothing and do not count."""
        return sum(file.kind == "document" for file in self._files)

    @property
    def tiles(self) -> int:
        """Tiles whose pixels were read, without absent files that were read as fill_value."""
        return sum(file.kind == "tile" and not file.absent for file in self._files)

    @property
    def cached(self) -> int:
        """Documents and tiles, of those above, that came from ``tile_cache`` without a request."""
        return sum(file.cached for file in self._files)

    @property
    def bytes(self) -> int:
        """Bytes that came, of all requests, as the filesystem gave them."""
        return sum(request.bytes for request in self._requests)

    @property
    def seconds(self) -> float:
        """Seconds in which at least one request was under way."""
        total, end = 0.0, float("-inf")
        for began, seconds in sorted((request.began, request.seconds) for request in self._requests):
            total += max(0.0, began + seconds - max(began, end))
            end = max(end, began + seconds)
        return total

    def rows(self) -> Iterator[TracedRequest]:
        """Iterate over the requests, in the order in which they ended."""
        labels = {file.file: file.labels for file in self._files}
        for request in list(self._requests):
            yield TracedRequest(
                kind=request.kind,
                labels=labels.get(request.file, ""),
                url=request.url,
                byte_range=request.byte_range,
                seconds=request.seconds,
                bytes=request.bytes,
                failed=request.failed,
            )

    def __repr__(self) -> str:
        failed = f" ({self.failed} failed)" if self.failed else ""
        cached = f" ({self.cached} from the cache)" if self.cached else ""
        counts = f"{self.requests} requests{failed}, {self.documents} documents, {self.tiles} tiles{cached}"
        rows = list(self.rows())
        more = [f"  … {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
        return "\n".join([f"{counts}, {shown(self.bytes)} in {self.seconds:.3g} s", *map(_line, rows[:_SHOWN]), *more])

    def _hear(self, event: Event) -> None:
        if isinstance(event, Requested):
            self._requests.append(event)
        elif isinstance(event, FileRead):
            self._files.append(event)


def trace() -> Trace:
    """Record what slicedfs requests inside a block.

    Returns
    -------
    Trace
        A context manager that gives itself: ``requests``, ``failed``, ``documents``, ``tiles``, ``cached``, ``bytes``,
        ``seconds``, ``rows()``. It can be used during the block and after it; entered again, it goes on counting.

    Notes
    -----
    Seen is what the thread or asyncio task that opened the block reads, ``load_async`` included, and what threads
    without a block of their own read meanwhile: workers of dask, and pools. Other processes are not seen. Redirects
    and what a filesystem asks on its own account (logins, listings) are not counted.

    Examples
    --------
    >>> import slicedfs
    >>> with slicedfs.trace() as t:
    ...     pass
    >>> t
    0 requests, 0 documents, 0 tiles, 0 B in 0 s
    """
    return Trace()


def _line(row: TracedRequest) -> str:
    what = f"{row.kind} {row.labels}".rstrip()
    came = shown(row.bytes) if row.failed is None else f"({row.failed})"
    return f"  {what:<26} {came:>10} {row.seconds:>8.3f} s  {row.url}"
