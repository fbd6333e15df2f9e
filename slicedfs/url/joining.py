"""A document's reference -> URL."""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from slicedfs.errors import ManifestError
from slicedfs.url.escaping import PATH_ILLEGAL, REST_ILLEGAL, encode, guard, remove_dots
from slicedfs.url.parts import (
    ABSOLUTE,
    DRIVE,
    HTTP,
    PATH_ONLY,
    Chain,
    Parts,
    cut,
    is_data,
    origin_of,
    split,
    split_chain,
    unsplit,
)
from slicedfs.url.redaction import redact
from slicedfs.url.wellformed import fault_of

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*+(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*+)*+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]|%00")
_BACKSLASHED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/?\\")
_SHORT_FILE = re.compile(r"file:/(?!/)", re.IGNORECASE)  # as Java's File.toURI writes it (RFC 8089, section 2)
_FILE_PATH = re.compile(r"(?:file|local)://(?:localhost)?/", re.IGNORECASE)
_ADVICE = "Write a relative path or an absolute URL."


@dataclass(frozen=True, slots=True, repr=False)
class Base:
    """The URL of a document, prepared for joining many references.

    Raises
    ------
    ManifestError
        If the URL is not absolute.
    """

    url: str
    """Internal URL of the document."""
    inherit_query: bool = True
    """Whether references inside the document's directory get its query (http only); False for redirects."""
    _chain: Chain = field(init=False, compare=False)
    _parts: Parts = field(init=False, compare=False)
    _directory: str = field(init=False, compare=False)  # path, ends with "/"
    _before: str = field(init=False, compare=False)  # a plain reference stands between these two
    _after: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        chain = split_chain(self.url)
        if not ABSOLUTE.match(chain.head):
            where = redact(self.url)
            raise ManifestError(f"'{where}' is no absolute URL, so references cannot start from it.", url=where)
        parts = split(chain.head)
        parts = parts._replace(path=encode(parts.path or "/", PATH_ILLEGAL))
        directory = remove_dots(parts.path[: parts.path.rindex("/") + 1])
        query = _query(parts) if self.inherit_query and parts.scheme in HTTP else ""
        fields = {
            "_chain": chain,
            "_parts": parts,
            "_directory": directory,
            "_before": chain.prefix + unsplit(parts._replace(path=directory, rest="")),
            "_after": query + chain.suffix,
        }
        for key, value in fields.items():
            object.__setattr__(self, key, value)

    def __repr__(self) -> str:
        return f"Base({redact(self.url)!r})"

    def join(self, reference: str) -> str:
        """Resolve `reference` as :func:`join` does; below 1 µs for plain names."""
        if _PLAIN.fullmatch(reference):
            return f"{self._before}{reference}{self._after}"
        self._check(reference)
        if is_data(reference):
            return reference
        chain = split_chain(reference)
        parts = self._resolve(chain.head)
        if chain.prefix or chain.suffix:  # a chain of the document's own inherits nothing
            return f"{chain.prefix}{guard(unsplit(parts), chain.suffix)}{chain.suffix}"
        own = self._chain if self._is_own(parts) else chain
        return f"{own.prefix}{guard(unsplit(parts), own.suffix)}{own.suffix}"

    def is_beside(self, url: str) -> bool:
        """Say whether `url`, which :meth:`join` gave, lies in the document's directory or below, as text can tell."""
        return url.startswith(self._before) and "::" not in url

    def _resolve(self, reference: str) -> Parts:
        """Resolve one element; RFC 3986, section 5.2.2."""
        absolute = self._as_absolute(reference)
        if absolute:
            parts = split(absolute)
            if fault := fault_of(parts):
                self._refuse(reference, fault)
        else:
            parts = self._relative(reference)
        path = remove_dots(encode(parts.path or "/", PATH_ILLEGAL))
        return self._with_query(parts._replace(path=path, rest=encode(parts.rest, REST_ILLEGAL)))

    def _as_absolute(self, reference: str) -> str:
        """Give `reference` as an absolute URL, "" where it is relative."""
        if DRIVE.match(reference):
            return "file:///" + reference.replace("\\", "/")
        if _SHORT_FILE.match(reference):
            return "file://" + reference[5:]
        if reference.startswith("//"):
            if self._parts.scheme in PATH_ONLY:
                self._refuse(reference, f"names a host, which {self._parts.scheme}:// URLs do not have")
            return f"{self._parts.scheme}:{reference}"
        match = ABSOLUTE.match(reference)
        if match and match[1].lower() in {"file", "local"} and not _FILE_PATH.match(reference):
            self._refuse(reference, "names a host, which file:// URLs of one machine do not have")
        return reference if match else ""

    def _relative(self, reference: str) -> Parts:
        path, rest = cut(reference)
        base = self._parts
        if not path and base.scheme in HTTP:  # "?x=2" and "#part" mean the document itself
            return base._replace(rest=rest if rest.startswith("?") else _query(base) + rest)
        return base._replace(path=path if path.startswith("/") else self._directory + path, rest=rest)

    def _with_query(self, parts: Parts) -> Parts:
        query = _query(self._parts) if self.inherit_query else ""
        if not query or parts.scheme not in HTTP or parts.rest.startswith("?") or not self._is_own(parts):
            return parts
        return parts._replace(rest=query + parts.rest) if parts.path.startswith(self._directory) else parts

    def _is_own(self, parts: Parts) -> bool:
        own = self._parts
        return origin_of(parts.scheme, parts.authority) == origin_of(own.scheme, own.authority)

    def _check(self, reference: str) -> None:
        if not reference:
            self._refuse(reference, "is empty")
        if _CONTROL.search(reference):
            self._refuse(reference, "contains a control character")
        if _BACKSLASHED.match(reference):
            self._refuse(reference, "has a backslash where a URL has a slash")

    def _refuse(self, reference: str, fault: str) -> NoReturn:
        where, shown = redact(self.url), redact(reference)
        raise ManifestError(f"{where} refers to '{shown}', which {fault}. {_ADVICE}", url=where, value=shown)


def _query(parts: Parts) -> str:
    return parts.rest.partition("#")[0]


def join(base: str, reference: str, *, inherit_query: bool = True) -> str:
    """Resolve the `reference` of a document against its URL `base` (RFC 3986, section 5.2, on every scheme).

    Absolute are ``proto://`` with two or more letters, ``data:``, chains, and Windows drive paths (which become
    ``file:///C:/…``). ``/abs`` starts at the root of the host, bucket, archive or disk, and ``..`` stops there; ``%2e``
    is a dot. Characters that URLs do not have are percent-encoded, ``%XX`` stays. A reference without query gets
    that of the document (http only) in the same origin and below the document's directory, unless `inherit_query`
    is False. ``#`` and ``?`` outside http stay as written (see :func:`key_candidates`). Prefix and suffix of a chain
    are inherited by everything in the head's origin. For many references of one document make one :class:`Base`.

    Raises
    ------
    ManifestError
        If the reference is empty, has a control character, a backslash in scheme or host, a host where the scheme
        has none, or a malformed host; or if `base` is not absolute.
    """
    return Base(base, inherit_query).join(reference)
