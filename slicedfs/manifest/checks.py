"""One value: is it what the format wants? Every error names the document, the pointer and the value."""

import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slicedfs.errors import ManifestError, ManifestWarning
from slicedfs.url import redact

__all__ = ["ABSENT", "LARGEST", "Place", "coordinate", "index", "member", "shape", "text_or_none"]

ABSENT: Any = object()
"""Stands for a value that the document does not have."""
LARGEST = 2**63 - 1
"""The largest integer that a column holds (int64)."""

_SHOWN, _SHOWN_ITEMS = 60, 3
"""Characters, and items of a list, of a refused value that a message shows."""
_ENDS = 2
"""Numbers that a range has."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NEEDED_AXES, _AXES = frozenset(("x", "y")), frozenset(("x", "y", "z"))
_AXES_OF_LIST = {2: ("y", "x"), 3: ("z", "y", "x")}


@dataclass(frozen=True, slots=True)
class Place:
    """The document being read: makes its errors and collects its warnings."""

    url: str
    """Where the document was read from; not redacted."""
    notes: dict[str, str] = field(default_factory=dict)
    """topic -> text of a warning; one for each topic."""

    def error(self, pointer: str, wrong: str, value: object = ABSENT, advice: str = "") -> ManifestError:
        """Return the error "url: pointer wrong, got value. advice"."""
        where = f"{redact(self.url)}: {pointer} {wrong}" if pointer else f"{redact(self.url)} {wrong}"
        got = "" if value is ABSENT else f", got {shown(value)}"
        message = f"{where}{got}. {advice}".rstrip()
        kept = None if value is ABSENT else value
        return ManifestError(message, url=redact(self.url), pointer=pointer or None, value=kept)

    def note(self, topic: str, text: str) -> None:
        """Keep a warning about `topic`; the first one of a topic stays."""
        self.notes.setdefault(topic, f"{redact(self.url)}: {text}")

    def warn(self) -> None:
        """Emit the collected warnings as if from the caller of the caller."""
        for text in self.notes.values():
            warnings.warn(text, ManifestWarning, stacklevel=3)


def shown(value: object) -> str:
    """Return `value` for a message: as JSON, on one line, short, without control characters."""
    if isinstance(value, dict):
        return f"an object with {len(value)} keys" if value else "{}"
    if isinstance(value, list) and (len(value) > _SHOWN_ITEMS or any(isinstance(item, list | dict) for item in value)):
        return f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def member(pointer: str, key: str) -> str:
    """Return the pointer of the value under `key` of the object at `pointer`."""
    if _PLAIN.fullmatch(key):
        return f"{pointer}.{key}" if pointer else key
    return f"{pointer}[{json.dumps(key)}]"


def index(value: object, pointer: str, place: Place) -> int:
    """Return an index label: an integer from 0 to 2**63 - 1; no bool, no 1.0."""
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    wanted = "must be an integer >= 0" if type(value) is not int or value < 0 else f"must be at most {LARGEST}"
    raise place.error(pointer, wanted, value)


def coordinate(value: object, pointer: str, place: Place) -> tuple[float, float]:
    """Return a range of coordinates: a pair as written, a number v as (v, v)."""
    if isinstance(value, list):
        if len(value) != _ENDS:
            raise place.error(pointer, f"must be a number or a pair of numbers, not a list of {len(value)}", value)
        return _number(value[0], pointer, 0, place), _number(value[1], pointer, 1, place)
    number = _number(value, pointer, None, place)
    return number, number


def _number(value: object, pointer: str, position: int | None, place: Place) -> float:
    if type(value) is int or type(value) is float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    pointer = pointer if position is None else f"{pointer}[{position}]"
    wanted = "must be a finite number" if position is not None else "must be a finite number or a pair of them"
    raise place.error(pointer, wanted, value)


def shape(value: object, pointer: str, place: Place) -> Mapping[str, int] | None:
    """Return the shape of tiles, axis -> pixels; None for null.

    Read by type, not by the document's version: a list is (y, x) or (z, y, x), an object is by name.
    """
    if value is None:
        return None
    if isinstance(value, list):
        if len(value) not in _AXES_OF_LIST:
            raise place.error(pointer, "must be [y, x], [z, y, x] or an object", value)
        return {
            axis: _pixels(size, f"{pointer}[{position}]", place)
            for position, (axis, size) in enumerate(zip(_AXES_OF_LIST[len(value)], value, strict=True))
        }
    if not isinstance(value, dict):
        raise place.error(pointer, "must be [y, x], [z, y, x] or an object", value)
    if _NEEDED_AXES <= value.keys() <= _AXES and all(map(_is_pixels, value.values())):
        return value  # no pointers were made: this is called for every tile
    for axis in ("x", "y"):
        if axis not in value:
            raise place.error(member(pointer, axis), "is missing: a tile has the axes x and y, and z where it is 3-D")
    return {axis: _pixels(size, member(pointer, axis), place, axis=axis) for axis, size in value.items()}


def _pixels(value: object, pointer: str, place: Place, *, axis: str = "x") -> int:
    if axis not in _AXES:
        raise place.error(pointer, "is not an axis of a tile: those are x, y and z")
    if type(value) is int and _is_pixels(value):
        return value
    raise place.error(pointer, "must be a number of pixels, an integer >= 1", value)


def _is_pixels(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST


def text_or_none(value: object, pointer: str, place: Place) -> str | None:
    """Return a text; None for null and for the empty text, which slicedimage takes for "not stated" as well."""
    if value is None or isinstance(value, str):
        return value or None
    raise place.error(pointer, "must be a string", value)
