"""What the user typed -> URL. Touches no file, but knows the working directory and the home directory."""

import os
import re

from slicedfs.errors import ManifestError
from slicedfs.url.escaping import LITERAL_ILLEGAL, PATH_ILLEGAL, REST_ILLEGAL, encode, guard, remove_dots
from slicedfs.url.parts import ABSOLUTE, DRIVE, HTTP, NEED_TARGET, Parts, is_data, split, split_chain, unsplit
from slicedfs.url.redaction import redact
from slicedfs.url.wellformed import fault_of

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


def canonical(text: str | os.PathLike[str]) -> str:
    """Turn what the user typed into an internal URL. Call once: the result must not go through it again.

    http(s) URLs stay as given, without the fragment. Everything else is taken literally, so ``%`` becomes ``%25``:
    local paths (made absolute, ``~`` expanded), ``file://`` and keys on object stores. Of a chain only the head
    is encoded.

    Raises
    ------
    ManifestError
        If the text is empty, holds NUL, or is an http URL without a proper host.
    """
    return _canonical(_plain(text), LITERAL_ILLEGAL)


def root_candidates(text: str | os.PathLike[str]) -> tuple[str, ...]:
    """Give the URLs that `text` may mean, best first: taken literally, then as an already encoded URL.

    Raises
    ------
    ManifestError
        As :func:`canonical`.
    """
    plain = _plain(text)
    literal = _canonical(plain, LITERAL_ILLEGAL)
    head = split_chain(plain).head
    if split(head).scheme in HTTP or not _ESCAPE.search(head) or "%00" in head:
        return (literal,)
    return tuple(dict.fromkeys((literal, _canonical(plain, PATH_ILLEGAL))))


def _plain(text: str | os.PathLike[str]) -> str:
    plain: object = os.fspath(text)
    if not isinstance(plain, str):
        kind = type(plain).__name__
        raise TypeError(f"url must be a str or a path of str, got {kind}. Decode it with os.fsdecode first.")
    return plain


def _canonical(text: str, illegal: re.Pattern[str]) -> str:
    if not text or "\0" in text:
        shown = redact(text)
        message = f"'{shown}' is no URL or path: it is empty or contains NUL. Give the place of a JSON document."
        raise ManifestError(message, url=shown, value=shown)
    chain = split_chain(text)
    head, suffix = chain.head, chain.suffix
    if not suffix and "::" in head and split(head).scheme in NEED_TARGET:  # zip://m.json::a.zip, a bare local path
        head, _, archive = head.rpartition("::")
        suffix = f"::file://{_absolute_path(archive)}"
    return f"{chain.prefix}{guard(_canonical_head(head, illegal), suffix)}{suffix}"


def _canonical_head(head: str, illegal: re.Pattern[str]) -> str:
    if is_data(head):
        return head
    parts = split(head)
    if parts.scheme == "file":
        return _local(head, illegal)
    if parts.scheme in HTTP:
        return _http(parts)
    path = remove_dots(encode(parts.path + parts.rest, illegal))
    return unsplit(Parts(parts.scheme, parts.authority, path, ""))


def _http(parts: Parts) -> str:
    if fault := fault_of(parts):
        shown = redact(unsplit(parts))
        raise ManifestError(f"{shown}: the URL {fault}. Write it as https://host/path.", url=shown, value=shown)
    query = encode(parts.rest.partition("#")[0], REST_ILLEGAL)
    return unsplit(parts._replace(path=encode(parts.path, PATH_ILLEGAL), rest=query))


def _local(head: str, illegal: re.Pattern[str]) -> str:
    text = head
    if match := ABSOLUTE.match(head):
        text = head[match.end() :]
        text = text.removeprefix("localhost") if text.startswith("localhost/") else text
        text = text[1:] if DRIVE.match(text[1:]) else text
    path = _absolute_path(text)
    if DRIVE.match(path):
        return f"file:///{encode(path, illegal)}"
    encoded = encode(path, illegal)
    if DRIVE.match(encoded[1:]):  # a directory named "C:" on POSIX is no drive
        encoded = encoded.replace(":", "%3A", 1)
    return f"file://{encoded}"


def _absolute_path(text: str) -> str:
    if DRIVE.match(text):
        return text.replace("\\", "/")
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - pathlib keeps ".."
    return path.replace("\\", "/") if os.name == "nt" else path
