"""progress(): bars over every load inside a block."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from slicedfs.errors import MissingExtraError
from slicedfs.events import Event, FileRead, Kind, LoadBegan, LoadEnded, Requested, listen
from slicedfs.show.sizes import shown

__all__ = ["progress"]

PATIENCE_S = 0.5
"""Nothing is shown until loads have taken this long, all together."""
_REDRAW_S = 0.1
_OURS = {"self", "iterable", "total", "initial", "gui", "kwargs"}
_UNITS: dict[Kind, str] = {"document": "documents", "tile": "tiles"}


def progress(**options: Any) -> AbstractContextManager[None]:
    """Show progress bars (tqdm) over every load inside a block: one of documents, one of tiles with their bytes.

    A bar appears once loads have taken 0.5 s in all, and counts all loads of its block: its total grows when another
    load begins, as with each chunk that dask takes up. It closes with the block, also on errors and Ctrl-C. It works
    around ``.load()``, ``.values``, ``.compute()`` of dask in threads, ``await ….load_async()``, ``open_datatree``, and
    in notebooks (as a widget where ipywidgets is installed).

    Parameters
    ----------
    **options
        Of :class:`tqdm.tqdm`, as ``desc``, ``leave``, ``disable``, ``file``; passed to both bars.

    Raises
    ------
    MissingExtraError
        If tqdm is not installed.
    TypeError
        If tqdm has no such option, or it is one that slicedfs sets (iterable, total, initial).

    Notes
    -----
    Loads of other threads show as in :func:`slicedfs.trace`; those of other processes (dask.distributed with
    processes) do not.

    Examples
    --------
    >>> import slicedfs
    >>> with slicedfs.progress(leave=False):
    ...     pass
    """
    bar = _bar_class()
    _refuse_unknown(options)
    return _shown(bar, options)


def _bar_class() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise MissingExtraError(
            "progress() shows its bars with tqdm, which is not installed. Run: pip install 'slicedfs[progress]'"
        ) from error
    return tqdm


def _refuse_unknown(options: dict[str, Any]) -> None:
    """Raise now: where the bar is made, in a thread and later, nobody would see it."""
    from inspect import signature

    from tqdm.std import tqdm

    known = {*signature(tqdm.__init__).parameters, "display"} - _OURS
    for name in options:
        if name not in known:
            raise TypeError(f"progress() has no option {name!r}; it has those of tqdm: {', '.join(sorted(known))}.")


@contextmanager
def _shown(bar: Any, options: dict[str, Any]) -> Iterator[None]:
    tally = _Tally()
    painter = _Painter(tally, bar, options)
    with listen(tally.hear):
        painter.start()
        try:
            yield
        finally:
            painter.stop()
    if painter.error is not None:  # not where the block itself failed: that error matters more
        raise painter.error


@dataclass(slots=True)
class _Count:
    """Files of one kind."""

    total: int = 0
    done: int = 0
    bytes: int = 0


class _Tally:
    """Adds up events; heard on the I/O loop's thread, read by the painter's."""

    def __init__(self) -> None:
        self.counts: dict[Kind, _Count] = {kind: _Count() for kind in _UNITS}
        self.failed = 0
        self._active: set[int] = set()
        self._since = 0.0
        self._spent_s = 0.0

    def hear(self, event: Event) -> None:
        """Add one event."""
        match event:
            case LoadBegan():
                self.counts[event.kind].total += event.files
                if not self._active:
                    self._since = perf_counter()
                self._active.add(event.load)
            case FileRead():
                count = self.counts[event.kind]
                count.done, count.bytes = count.done + 1, count.bytes + event.bytes
            case LoadEnded():
                self._active.discard(event.load)
                if not self._active:
                    self._spent_s += perf_counter() - self._since
            case Requested():
                self.failed += event.failed is not None

    def seconds(self) -> float:
        """Return how long loads have taken in all; those at the same time count once."""
        return self._spent_s + (perf_counter() - self._since if self._active else 0.0)


class _Output:
    """The file that bars are written to. Keeps what goes wrong: where writing raises, tqdm keeps its lock for ever."""

    __hash__ = None  # type: ignore[assignment]  # as other things with __eq__ alone

    def __init__(self, file: Any) -> None:
        self.error: Exception | None = None
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __eq__(self, other: object) -> bool:
        return bool(self._file == other)  # tqdm asks for the size of the terminal where it is sys.stderr

    def write(self, text: str) -> None:
        """Write, unless it has failed before."""
        self._try(self._file.write, text)

    def flush(self) -> None:
        """Flush, unless it has failed before."""
        self._try(self._file.flush)

    def _try(self, function: Callable[..., object], *given: str) -> None:
        try:
            if self.error is None:
                function(*given)
        except Exception as error:  # noqa: BLE001 - raised at the end of the block; it must not break the load
            self.error = error


class _Painter:
    """Draws in a thread of its own: a terminal or a notebook that is slow to draw must not slow down the reading.

    The thread has the contextvars of the block, by which notebooks know the cell that output belongs to.
    """

    def __init__(self, tally: _Tally, bar: Any, options: dict[str, Any]) -> None:
        self._output = _Output(options.get("file") or sys.stderr)
        self._tally, self._bar, self._options = tally, bar, {**options, "file": self._output}
        self._bars: dict[Kind, Any] = {}
        self._stopped = threading.Event()
        run = copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name="slicedfs-progress", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Draw what is, close the bars, and end the thread."""
        self._stopped.set()
        self._thread.join()

    @property
    def error(self) -> Exception | None:
        """What went wrong while drawing."""
        return self._output.error

    def _run(self) -> None:
        try:
            try:
                while not self._stopped.wait(_REDRAW_S):
                    self._paint()
                self._paint()
            finally:
                for bar in self._bars.values():
                    bar.close()
        except Exception as error:  # noqa: BLE001 - raised at the end of the block; it must not break the load
            self._output.error = error
            with suppress(RuntimeError, AssertionError):  # until it is not held
                while True:  # tqdm keeps its lock where drawing fails, and a thread that is gone cannot give it back
                    self._bar.get_lock().release()

    def _paint(self) -> None:
        if self._tally.seconds() < PATIENCE_S:
            return
        for kind, count in self._tally.counts.items():
            if count.total:
                self._update(kind, count)

    def _update(self, kind: Kind, count: _Count) -> None:
        total, done = count.total, count.done
        if kind not in self._bars:  # "initial", as tqdm takes the time from here on
            own = {"total": total, "initial": done, "unit": f" {_UNITS[kind]}"}
            self._bars[kind] = self._bar(**{**own, **self._options})
        bar = self._bars[kind]
        if kind == "tile" or self._tally.failed:
            failed = f", {self._tally.failed} requests failed" if self._tally.failed else ""
            bar.set_postfix_str(f"{shown(count.bytes)}{failed}", refresh=False)
        if bar.total != total:
            bar.total = total
            _stretch(bar, total)
            bar.refresh()
        if done > bar.n:
            bar.update(done - bar.n)


def _stretch(bar: Any, total: int) -> None:
    """Let the widget of a notebook know its new total, which it is otherwise told at the start only."""
    for widget in getattr(getattr(bar, "container", None), "children", ()):
        if hasattr(widget, "max"):
            widget.max = total
