"""Bytes -> JSON values, and what is wrong with bytes that are not JSON."""

import json
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import Any, NoReturn

import msgspec

from slicedfs.errors import ManifestError
from slicedfs.manifest.checks import Place

__all__ = ["NotPlainError", "load", "load_part", "split"]

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOT_JSON = re.compile(r'"(?:[^"\\]|\\.)*+"|(-?(?:Infinity|NaN))', re.DOTALL)
"""Matches texts (to step over them) and, as group 1, the constants that only Python takes for JSON."""
_MAGIC = (
    (b"\x1f\x8b", "gzip data"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"II+\0", "a TIFF image"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89HDF", "an HDF5 file"),
)
_HINTS = {
    ("'",): "Texts take double quotes in JSON.",
    ("//", "/*", "#"): "JSON has no comments.",
    ("True", "False", "None"): "JSON writes true, false and null in lower case.",
    (":",): "An object takes { }, not [ ].",
}


class NotPlainError(Exception):
    """Raised for text that only :func:`load` can read, or explain. Never leaves this package."""


def split(data: bytes | memoryview) -> dict[str, Any]:
    """Read the fields of a document, but leave ``tiles`` as it is, as a ``msgspec.Raw``: that one is large.

    Raises
    ------
    NotPlainError
        `data` is not an object in plain JSON; :func:`load` tells why, or can read it after all.
    """
    try:
        fields = _FIELDS.decode(_without_mark(data))
        return {key: raw if key == "tiles" else load_part(raw) for key, raw in fields.items()}
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, as is UnicodeDecodeError
        raise NotPlainError from error


def load_part(raw: bytes | memoryview | msgspec.Raw) -> Any:
    """Read one value of JSON; the same values that :func:`load` gives.

    Raises
    ------
    ValueError
        It is not JSON, or not UTF-8, or holds a number of thousands of digits.
    RecursionError
        It is nested too deeply.
    """
    return _VALUES.decode(str(memoryview(raw), "utf-8"))


def load(data: bytes | memoryview, place: Place) -> Any:
    """Read a whole document with the standard library: slower, but it tells what is wrong.

    Raises
    ------
    ManifestError
        The bytes are not JSON in UTF-8; with line, column and a hint where one is known.
    """
    text = _decode(data, place)
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise _malformed(error, text, place) from error
    except RecursionError as error:
        raise place.error("", "is nested too deeply to be a manifest") from error
    except ValueError as error:
        raise _unreadable(error, text, place) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_VALUES = json.JSONDecoder(parse_constant=_refuse)
"""What json.loads would make anew for every value."""


def _without_mark(data: bytes | memoryview) -> memoryview:
    view = memoryview(data)
    return view[len(BOM_UTF8) :] if bytes(view[: len(BOM_UTF8)]) == BOM_UTF8 else view


def _decode(data: bytes | memoryview, place: Place) -> str:
    start = bytes(data[:8])
    for magic, what in _MAGIC:
        if start.startswith(magic):
            raise place.error("", f"is {what}, not a JSON document", advice="Open the document that lists the tiles.")
    if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in start[:4]:
        raise place.error("", "is not in UTF-8 (it looks like UTF-16 or UTF-32)", advice="Save it as UTF-8.")
    try:
        return str(_without_mark(data), "utf-8")
    except UnicodeDecodeError as error:
        wrong = f"is not in UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        raise place.error("", wrong, advice="Save it as UTF-8.") from error


def _malformed(error: json.JSONDecodeError, text: str, place: Place) -> ManifestError:
    wrong = f"is not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}"
    return place.error("", wrong, advice=_hint(error, text))


def _hint(error: json.JSONDecodeError, text: str) -> str:
    start = text[:64].lstrip()
    if not start and not text.strip():
        return "The document is empty."
    if start.startswith("<"):
        return "It is HTML or XML: the server's page for an error or a login, perhaps."
    before = text[max(0, error.pos - 1000) : error.pos + 1].rstrip(" \t\r\n")
    if re.search(r",\s*[]}]?$", before) and text[error.pos : error.pos + 1] not in ("'", '"', "/"):
        return "There is a comma after the last value: remove it."
    if not text[error.pos :].strip() or error.msg.startswith("Unterminated string"):
        return "The document is cut off: was it read, or written, to its end?"
    rest = text[error.pos : error.pos + 8]
    return next((hint for starts, hint in _HINTS.items() if rest.startswith(starts)), "")


def _unreadable(error: ValueError, text: str, place: Place) -> ManifestError:
    """Tell which of the values that Python's parser stops at without a position it was."""
    constant = next((match for match in _NOT_JSON.finditer(text) if match[1]), None)
    if constant is None or str(error) != constant[1]:
        return place.error("", "holds a number of thousands of digits")
    line, column = text.count("\n", 0, constant.start()) + 1, constant.start() - text.rfind("\n", 0, constant.start())
    wrong = f"is not valid JSON at line {line}, column {column}: {constant[1]} is not a number in JSON"
    return place.error("", wrong, advice="Write null, or leave the key out.")
