"""What happens while slicedfs reads, as values for those who listen; costs nothing while nobody does.

Who hears what
--------------
A listener hears everything that is read by the thread or asyncio task that opened its block, and by the tasks started
inside the block. Threads and tasks without a block of their own (workers of dask, a ThreadPoolExecutor) are heard by
all blocks that are open at that moment. So two threads that listen at the same time each hear their own reads, and the
block around ``.compute()`` hears dask's threads. Other processes are not heard.

How it works: a call enters the I/O loop with the :mod:`contextvars` of its caller (``call_soon_threadsafe`` copies
them, and so does every task made there), and they say which blocks the caller is in.
"""

import itertools
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, Protocol, TypeVar

from slicedfs.ranges import ByteRange
from slicedfs.url import redact

__all__ = [
    "Event",
    "FileRead",
    "Kind",
    "Listener",
    "Load",
    "LoadBegan",
    "LoadEnded",
    "Requested",
    "listen",
    "listened",
    "loading",
    "watched",
]

Kind = Literal["document", "tile", "header"]
"""What is read: a document, the pixels of a tile, or the header of a tile at open."""


@dataclass(frozen=True, slots=True)
class LoadBegan:
    """A load of `files` files began: the tiles of one selection, or one document."""

    load: int
    """Number of the load, unique in the process."""
    kind: Kind
    """What its files are."""
    files: int
    """How many it will read."""


@dataclass(frozen=True, slots=True)
class FileRead:
    """One file of a load is done: its pixels are in the array, or the document is parsed."""

    load: int
    """Number of the load."""
    kind: Kind
    """What the file is."""
    url: str
    """Where it lies, redacted."""
    file: int
    """Equal for equal URLs in this process, also where their redacted forms hide the difference."""
    labels: str
    """Labels of a tile, as "r=1, c=2"; "" for documents."""
    bytes: int
    """Size of what came; 0 where the file is absent and read as fill_value."""
    absent: bool = False
    """True where the file is absent and read as fill_value."""
    cached: bool = False
    """True where it came from ``tile_cache``, without a request."""


@dataclass(frozen=True, slots=True)
class LoadEnded:
    """A load is over."""

    load: int
    """Number of the load."""
    seconds: float
    """How long it took."""
    failed: bool
    """True where it ended by an error or was cancelled."""


@dataclass(frozen=True, slots=True)
class Requested:
    """One request to a filesystem is over; each try counts."""

    kind: Kind
    """What was asked for."""
    url: str
    """Where, redacted."""
    file: int
    """Equal for equal URLs in this process, also where their redacted forms hide the difference."""
    byte_range: ByteRange
    """Bytes asked for."""
    began: float
    """When, on the clock of :func:`time.perf_counter`."""
    seconds: float
    """How long it took."""
    bytes: int
    """Bytes that came."""
    failed: str | None = None
    """Why it gave nothing, without secrets; None where it gave its bytes."""


Event = LoadBegan | FileRead | LoadEnded | Requested
Listener = Callable[[Event], None]
"""Called on the I/O loop's thread, one event at a time: it must neither block nor raise."""


class _Reply(Protocol):
    """What a request gives."""

    @property
    def data(self) -> Sized: ...


R = TypeVar("R", bound=_Reply)

_open: tuple[Listener, ...] = ()
_lock = threading.Lock()
_mine: ContextVar[tuple[Listener, ...]] = ContextVar("slicedfs_listeners", default=())
_kind: ContextVar[Kind] = ContextVar("slicedfs_kind", default="header")
_numbers = itertools.count(1)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Hand events to `listener` inside the block; see the module on what it hears.

    Each call needs a listener of its own, and blocks may be nested: all of them hear.
    """
    global _open  # noqa: PLW0603 - the one place that knows who listens
    with _lock:
        _open = (*_open, listener)
    _mine.set((*_mine.get(), listener))
    try:
        yield
    finally:
        with _lock:
            _open = tuple(other for other in _open if other is not listener)
        # Not by a token: a generator or a callback may leave the block in another context than it entered.
        _mine.set(tuple(other for other in _mine.get() if other is not listener))


def listened() -> bool:
    """Say whether anybody listens."""
    return bool(_open)


def _listeners() -> tuple[Listener, ...]:
    """Return who hears the caller."""
    if not _open:
        return ()
    return tuple(listener for listener in _mine.get() if listener in _open) or _open


class Load:
    """Tells the listeners about one load."""

    __slots__ = ("_listeners", "kind", "number")

    def __init__(self, kind: Kind, listeners: tuple[Listener, ...]) -> None:
        self.kind, self.number, self._listeners = kind, next(_numbers), listeners

    def tell(self, event: Event) -> None:
        """Hand `event` to the listeners whose block is still open."""
        for listener in self._listeners:
            if listener in _open:
                listener(event)

    def read(self, url: str, size: int, labels: str = "", *, absent: bool = False, cached: bool = False) -> None:
        """Tell that the file at `url`, of `size` bytes, is done."""
        self.tell(FileRead(self.number, self.kind, redact(url), hash(url), labels, size, absent, cached))


@contextmanager
def loading(kind: Kind, files: int) -> Iterator[Load | None]:
    """Tell of a load of `files` files; gives None where nobody listens."""
    listeners = _listeners()
    if not listeners:
        yield None
        return
    load = Load(kind, listeners)
    before = _kind.set(kind)
    began, failed = perf_counter(), True
    load.tell(LoadBegan(load.number, kind, files))
    try:
        yield load
        failed = False
    finally:
        _kind.reset(before)
        load.tell(LoadEnded(load.number, perf_counter() - began, failed))


async def watched(reading: Awaitable[R], url: str, byte_range: ByteRange) -> R:
    """Await one request, and tell the listeners of it."""
    listeners = _listeners()
    began, size, failed = perf_counter(), 0, None
    try:
        reply = await reading
        size = len(reply.data)
    except BaseException as error:
        failed = _why(error)
        raise
    else:
        return reply
    finally:
        seconds = perf_counter() - began
        event = Requested(_kind.get(), redact(url), hash(url), byte_range, began, seconds, size, failed)
        for listener in listeners:
            listener(event)


def _why(error: BaseException) -> str:
    """Return what the store says of a failed try, else the kind of error: a foreign text may hold secrets."""
    said = getattr(getattr(error, "verdict", None), "text", None)
    return said if isinstance(said, str) else type(error).__name__


def _forget() -> None:
    """Forget the parent's listeners: what a forked child reads is not theirs."""
    global _open, _lock
    _open, _lock = (), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
