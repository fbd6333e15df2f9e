"""What a URL consists of: elements of a chain, scheme, host, origin, name."""

import itertools
import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import unquote

ALIASES = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs", "local": "file", "ssh": "sftp"}
"""Protocol names of fsspec that mean the same filesystem as another one."""

HTTP = frozenset({"http", "https"})
BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
PATH_ONLY = frozenset({"file", "local", "memory", "zip", "tar", "libarchive", "dir", "reference"})
"""Schemes without authority: the text after ``://`` is all path."""
NEED_TARGET = frozenset({"zip", "tar", "libarchive", "dir", "reference"})
"""Schemes whose URLs mean nothing without the rest of the chain."""
SERVERS = {
    "ftp": 21,
    "ftps": 990,
    "hdfs": 8020,
    "http": 80,
    "https": 443,
    "sftp": 22,
    "smb": 445,
    "ssh": 22,
    "webdav": 80,
    "webhdfs": 50070,
}
"""Schemes whose authority is user@host:port, with their default ports; fsspec's paths leave the authority out."""

ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
PLAIN_URL = re.compile(r"(?:https?|s3|gs)://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~/+,-]*")
"""URLs without anything to hide, to decode or to take apart: nearly all, and a million of them are looked at."""
DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_WORD = re.compile(r"[A-Za-z0-9+.-]{2,}")
_REST = re.compile(r"[?#]")
_PORT = re.compile(r"[0-9]{1,5}")
_AZURE = re.compile(r"\.(?:dfs|blob)\.core\.windows\.net\Z")
# Letters that IDNA 2003 (Python's codec) maps to ASCII and IDNA 2008 (browsers, aiohttp) keeps: two hosts, not one.
_IDNA_DEVIATIONS = re.compile("[ß\u1e9e\u03c2\u200c\u200d]")


class Parts(NamedTuple):
    """One element of a chain, taken apart; `unsplit` puts it together."""

    scheme: str
    """Lower-case, as written (s3a stays); local and bare paths are "file"."""
    authority: str
    """As written; "" for path-only schemes."""
    path: str
    """Begins with a slash, or is empty."""
    rest: str
    """``?query#fragment`` as written, or empty."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The three parts of a chained URL; ``prefix + head + suffix`` is the URL."""

    prefix: str
    """Wrappers before the head, as ``simplecache::``; mostly empty."""
    head: str
    """The element that references join: the first one that is a URL or a path."""
    suffix: str
    """What the head lies in, as ``::https://h/a.zip``, literally as fsspec reads it; mostly empty."""


def elements(url: str) -> list[str]:
    """Split `url` at the ``::`` that separate a chain; a ``::`` inside a key is none.

    It separates where ``proto://`` follows (perhaps after more wrappers), or where only bare words of two or more
    letters stand before it and something follows. Takes time linear in the length.
    """
    if "::" not in url:
        return [url]
    pieces = url.split("::")
    last = len(pieces) - 1
    links = [False] * (last + 2)  # links[i]: the "::" before pieces[i] separates
    for i in range(last, 0, -1):
        links[i] = bool(ABSOLUTE.match(pieces[i]) or (links[i + 1] and _WORD.fullmatch(pieces[i])))
    for i in range(last):
        if not _WORD.fullmatch(pieces[i]) or (i + 1 == last and not pieces[last]):
            break
        links[i + 1] = True
    starts = [0, *(i for i in range(1, last + 1) if links[i]), last + 1]
    return ["::".join(pieces[a:b]) for a, b in itertools.pairwise(starts)]


def split_chain(url: str) -> Chain:
    """Give the parts of `url`; where it is not chained, all of it is the head."""
    if "::" not in url:
        return Chain("", url, "")
    parts = elements(url)
    k = 0
    while k < len(parts) - 1 and _WORD.fullmatch(parts[k]):
        k += 1
    return Chain("".join(f"{p}::" for p in parts[:k]), parts[k], "".join(f"::{p}" for p in parts[k + 1 :]))


def is_chained(url: str) -> bool:
    """Say whether `url` has more than one element."""
    return "::" in url and len(elements(url)) > 1


def scheme(url: str) -> str:
    """Give the protocol of the head, lower-case, aliases folded (s3a is s3, az is abfs, a bare path is file)."""
    raw = head_parts(url).scheme
    return ALIASES.get(raw, raw)


def is_local(url: str) -> bool:
    """Say whether the head is a file of this machine."""
    return scheme(url) == "file"


def is_http(url: str) -> bool:
    """Say whether the head is http or https."""
    return scheme(url) in HTTP


def host(url: str) -> str:
    """Give the head's host: IDNA, lower-case, without brackets and trailing dot; an object store's bucket; or ""."""
    parts = head_parts(url)
    return bucket(parts) if parts.scheme in BUCKETS else host_port(parts.authority)[0]


def port(url: str) -> int | None:
    """Give the head's port, the default one where none is written; None where there is none."""
    parts = head_parts(url)
    if parts.scheme in BUCKETS:
        return None
    text = host_port(parts.authority)[1]
    return int(text) if _PORT.fullmatch(text) else SERVERS.get(parts.scheme)


def name(url: str) -> str:
    """Give the last segment of the head's path, decoded; "" where the path ends in a slash."""
    return unquote(head_parts(url).path.rpartition("/")[2])


def extension(url: str) -> str:
    """Give the extension of the head's path, lower-case with its dot (".tif"); "" where there is none."""
    if PLAIN_URL.fullmatch(url):
        return posixpath.splitext(url.rpartition("/")[2])[1].lower()
    return posixpath.splitext(name(url))[1].lower()


def origin(url: str) -> str:
    """Give where credentials for `url` belong; equal texts mean the same place. Not for display: may hold secrets.

    Servers: ``scheme://host:port``, without userinfo. Object stores: ``scheme://bucket``, aliases folded; Azure's
    ``container@account.dfs.core.windows.net``: ``abfs://container@account``. Path-only schemes: ``file://``.
    Unknown schemes: the authority as written. Chains: the origin of the head between prefix and suffix as written.
    """
    chain = split_chain(url)
    parts = split(chain.head)
    return f"{chain.prefix}{origin_of(parts.scheme, parts.authority)}{chain.suffix}"


@lru_cache(maxsize=1024)
def origin_of(raw: str, authority: str) -> str:
    """Give the origin of one element by its scheme and authority."""
    folded = ALIASES.get(raw, raw)
    if raw in SERVERS:
        server, number = host_port(authority)
        number = str(int(number)) if _PORT.fullmatch(number) else number or str(SERVERS[raw])
        return f"{folded}://[{server}]:{number}" if ":" in server else f"{folded}://{server}:{number}"
    if folded == "abfs" and "@" in authority:
        container, _, account = authority.rpartition("@")
        return f"abfs://{container}@{_AZURE.sub('', account.lower())}"
    return f"{folded}://{authority.rpartition('@')[2] if raw in BUCKETS else authority}"


def host_port(authority: str) -> tuple[str, str]:
    """Split ``user:pw@Host:port`` into the comparable host and the port as written."""
    text = authority.rpartition("@")[2]
    if text.startswith("["):
        server, _, tail = text[1:].partition("]")
        return _compressed(server.lower()), tail.removeprefix(":")
    server, _, number = text.partition(":")
    return ascii_host(server).removesuffix("."), number


def _compressed(address: str) -> str:
    try:
        return IPv6Address(address.replace("%25", "%", 1)).compressed
    except ValueError:
        return address


def ascii_host(text: str) -> str:
    """Give a host name in IDNA form, lower-case; one that IDNA versions read differently stays as it is."""
    if text.isascii() or _IDNA_DEVIATIONS.search(text):
        return text.lower()
    try:
        return text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return text.lower()


def bucket(parts: Parts) -> str:
    """Give the bucket or container of an object store; elsewhere the authority without userinfo."""
    if ALIASES.get(parts.scheme, parts.scheme) == "abfs":
        return parts.authority.partition("@")[0]
    return parts.authority.rpartition("@")[2]


def head_parts(url: str) -> Parts:
    """Give the parts of the head of `url`."""
    return split(split_chain(url).head)


def split(element: str) -> Parts:
    """Take one element of a chain apart; a bare path is a file."""
    match = ABSOLUTE.match(element)
    if match is None and is_data(element):
        return Parts("data", "", "", element[5:])
    raw = match[1].lower() if match else "file"
    body, rest = cut(element[match.end() :] if match else element)
    if raw in {"file", "local"}:
        body = body.removeprefix("localhost") if body.startswith("localhost/") else body
        return Parts("file", "", body if body.startswith("/") else f"/{body}", rest)
    if raw in PATH_ONLY:
        return Parts(raw, "", "/" + body.lstrip("/"), rest)
    authority, slash, path = body.partition("/")
    return Parts(raw, authority, slash + path, rest)


def unsplit(parts: Parts) -> str:
    """Put one element together. memory:// and archives are written without a leading slash."""
    path = parts.path[1:] if parts.scheme in PATH_ONLY and parts.scheme != "file" else parts.path
    return f"{parts.scheme}://{parts.authority}{path}{parts.rest}"


def cut(text: str) -> tuple[str, str]:
    """Split at the first ``?`` or ``#``, which stays with the second part."""
    match = _REST.search(text)
    return (text[: match.start()], text[match.start() :]) if match else (text, "")


def is_data(text: str) -> bool:
    """Say whether `text` is a data: URL (RFC 2397), which carries its bytes."""
    return text[:5].lower() == "data:"
