"""Percent-encoding, dot segments, and the keys to ask a filesystem for."""

import re
from urllib.parse import unquote

from slicedfs.url.parts import DRIVE, HTTP, PATH_ONLY, SERVERS, Parts, bucket, head_parts, is_http, split_chain

# What RFC 3986, section 3.3, does not allow in a path; "%" is legal where two hex digits follow.
PATH_ILLEGAL = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@/%-]|%(?![0-9A-Fa-f]{2})")
# The same for text that is a name and no URL: every "%" is a character of it.
LITERAL_ILLEGAL = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@/-]")
# In queries only what cannot be sent: signatures cover the bytes, and servers accept [] and | there.
REST_ILLEGAL = re.compile(r'[\x00-\x20"<>\\`\x7f-\U0010ffff]|%(?![0-9A-Fa-f]{2})')


def encode(text: str, illegal: re.Pattern[str]) -> str:
    """Percent-encode what matches `illegal`, as UTF-8.

    Lone surrogates that stand for bytes of a file name (os.fsdecode) become these bytes, others their three-byte form.
    """
    return illegal.sub(lambda match: "".join(f"%{byte:02X}" for byte in _bytes(match[0])), text)


def _bytes(char: str) -> bytes:
    try:
        return char.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return char.encode("utf-8", "surrogatepass")


def remove_dots(path: str, *, is_escaped: bool = True) -> str:
    """Resolve ``.`` and ``..`` (RFC 3986, section 5.2.4); never climbs above the root.

    ``%2e`` is a dot, unless `path` is decoded already (`is_escaped` False).
    """
    if "/." not in path and not (is_escaped and "%2" in path):
        return path
    kept: list[str] = []
    plain = ""
    for segment in path.split("/")[1:]:
        plain = segment.lower().replace("%2e", ".") if is_escaped and "%" in segment else segment
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
    if plain in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def guard(head: str, suffix: str) -> str:
    """Encode ``::`` in a head that gets a suffix, lest it be read as another link of the chain."""
    return head.replace("::", "%3A%3A") if suffix and "::" in head and not is_http(head) else head


def key_candidates(url: str) -> tuple[str, ...]:
    """Give the names under which the head's filesystem may know `url`, best first, without scheme.

    First the path decoded once, without query and fragment; then decoded with them; then the last segment as
    written in the decoded directory; then all as written. Equal ones are listed once, so most URLs have one. None
    leaves the bucket. Object stores: ``bucket/key``; servers other than http: the path; file: the path of the
    operating system (``C:/d/x`` for drives); archives and memory: the path without leading slash; http: the URL to
    send.
    """
    parts = head_parts(url)
    if parts.scheme == "data":
        return (f"data:{parts.rest}",)
    if parts.scheme in HTTP:
        return (http_url(url),)
    path, rest = parts.path, parts.rest
    if not rest and "%" not in path:
        return (_key(parts, path),)
    errors = "surrogateescape" if parts.scheme == "file" else "replace"  # file names are bytes, keys are UTF-8
    folder, slash, last = path.rpartition("/")
    decoded = unquote(path, errors=errors)
    with_rest = decoded + unquote(rest, errors=errors)
    forms = [decoded, with_rest, unquote(folder, errors=errors) + slash + last + rest, path + rest]
    if rest and not last:  # "#1.tif" is a name: the bare directory is no file
        del forms[0]
    return tuple(dict.fromkeys(_key(parts, remove_dots(form, is_escaped=False)) for form in forms))


def _key(parts: Parts, path: str) -> str:
    if parts.scheme == "file":
        return path[1:] if DRIVE.match(parts.path[1:]) else path
    if parts.scheme in PATH_ONLY:
        return path[1:]
    return path if parts.scheme in SERVERS else bucket(parts) + path


def http_url(url: str) -> str:
    """Give what to send for an http(s) URL: the head without fragment."""
    head = split_chain(url).head if "::" in url else url
    return head.partition("#")[0]
