"""UrlPolicy: which URL a document may lead to. Pure: names are not resolved here, the store hands addresses in."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal, NamedTuple

from slicedfs.errors import UrlPolicyError
from slicedfs.url import (
    ALIASES,
    PATH_ONLY,
    ascii_host,
    authority_fault,
    elements,
    host,
    is_local,
    origin,
    port,
    redact,
    scheme,
    split_chain,
)

__all__ = ["UrlPolicy"]

_NETWORK = frozenset({"http", "https", "s3", "gs", "abfs"})
# What else a document on this machine may name, as its reader trusts it more.
_NETWORK_FROM_LOCAL = _NETWORK | {"adl", "ftp", "ftps", "hdfs", "oci", "oss", "sftp", "smb", "webdav", "webhdfs"}
_PLACES = _NETWORK_FROM_LOCAL | {"data", "file", "memory"}  # where a chain ends
_BUCKETS = frozenset({"s3", "gs", "abfs"})
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+")
_HOST_PATTERN = re.compile(r"[^\s/@\\]+")
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):[0-9]+")
# RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), ICANN's reservation of "internal".
_PRIVATE_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa", "ip6-localhost", "ip6-loopback")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_CARRIER_GRADE = IPv4Network("100.64.0.0/10")  # RFC 6598


class _Finding(NamedTuple):
    """Why a reference is refused."""

    reason: str  # goes after "but"
    cure: "UrlPolicy | None"  # the policy without this objection; None where there is none


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UrlPolicy:
    """Say which URLs a document may lead to; the default suits documents of unknown origin.

    A local document may refer to local files and network URLs. One from the network may refer to http, https, s3,
    gs, abfs and its own origin; not to local files, memory, wrappers (``simplecache::…``) or private hosts of
    others. The filesystem that a document came from, wrappers included, is always open to it.

    Raises
    ------
    TypeError
        If `schemes` or `hosts` is a str or holds something else than str, or a flag is no bool.
    ValueError
        If a scheme or host is malformed, or `same_origin` is combined with `schemes` or `hosts`.
    """

    schemes: Collection[str] | None = None
    """Protocols that may be named, in place of the default ones; wrappers too. None: the default ones."""
    hosts: Collection[str] | None = None
    """Hosts and buckets that may be named, private ones included: ``"*.example.org"``, ``"127.0.0.1:8080"``,
    ``"my-bucket"``. None: all that are not private."""
    same_origin: bool = False
    """Whether a document may lead only to its own host and port, bucket or archive (a local one: to local files)."""
    allow_local: bool = False
    """Whether documents from the network may lead to local files."""

    def __post_init__(self) -> None:
        names = _checked("schemes", self.schemes, _SCHEME, "https")
        hosts = _checked("hosts", self.hosts, _HOST_PATTERN, "data.example.org")
        if names is not None:
            object.__setattr__(self, "schemes", frozenset(ALIASES.get(name, name) for name in names))
        if hosts is not None:
            object.__setattr__(self, "hosts", frozenset(map(_pattern, hosts)))
        for flag in ("same_origin", "allow_local"):
            if not isinstance(getattr(self, flag), bool):
                raise TypeError(f"{flag} must be True or False, got {getattr(self, flag)!r}.")
        if self.same_origin and (names is not None or hosts is not None):
            raise ValueError("same_origin=True leaves no room for schemes or hosts. Give one or the other.")

    def __repr__(self) -> str:
        """Show what differs from the default, so that the text can be pasted."""
        given = ((f.name, getattr(self, f.name)) for f in fields(self))
        shown = [
            f"{name}={sorted(value) if isinstance(value, frozenset) else value}"
            for name, value in given
            if value is not None and value is not False
        ]
        return f"UrlPolicy({', '.join(shown)})"

    def check(self, target: str, source: str) -> None:
        """Raise unless the document at `source` may lead to `target`; both are internal URLs.

        The answer depends on the origins alone.

        Raises
        ------
        UrlPolicyError
            If it may not; the message says which policy would let it.
        """
        finding = self._finding(target, source)
        if finding is not None:
            raise _error(f"refers to '{redact(target)}'", finding, target, source)

    def check_address(self, host: str, address: str, source: str) -> None:
        """Raise unless `host`, as named or reached by the document at `source`, may have the IP `address`.

        For the resolver, which knows what a name stands for only when it connects: a public name may point inwards
        (DNS rebinding).

        Raises
        ------
        UrlPolicyError
            If the address is private, `source` lies on the network on another host, and `hosts` does not name it.
        """
        named = ascii_host(host.strip("[]")).removesuffix(".")
        if is_local(source) or named in _hosts(source) or not _is_private_ip(address):
            return
        labels = {named, f"[{named}]", address, f"[{address}]"}
        if self.hosts is not None and any(_matches(_without_port(p), labels) for p in self.hosts):
            return
        cure = _with(replace(self, same_origin=False), "hosts", {*(self.hosts or ()), named})
        reason = f"'{redact(address)}' is an address of this machine or a private network"
        raise _error(f"leads to host '{redact(host)}'", _Finding(reason, cure), host, source)

    def _finding(self, target: str, source: str) -> _Finding | None:
        if origin(target) == origin(source):
            return None
        kinds = list(_kinds(target))
        for element, _ in kinds:
            if fault := authority_fault(element):
                return _Finding(f"the URL {fault}", None)
        allowed = self._allowed(source)
        names = [kind for _, kind in kinds]
        if self.same_origin and not (names == ["file"] and "file" in allowed):
            cure = replace(self, same_origin=False)
            return _Finding(f"only its own origin is allowed ({redact(origin(source))})", cure)
        finding = self._scheme_finding(names, allowed)
        if finding is not None:
            return finding
        places = ((e, kind) for e, kind in kinds if "://" in e and kind not in PATH_ONLY)
        return next(filter(None, (self._host_finding(e, kind, source) for e, kind in places)), None)

    def _scheme_finding(self, names: list[str], allowed: frozenset[str]) -> _Finding | None:
        # Chains run code of plug-ins: all of their protocols must be named by the user.
        given = allowed if len(names) == 1 else frozenset(self.schemes or ()) | (allowed & {"file"})
        missing = frozenset(names) - given
        is_sound = _PLACES.isdisjoint(names[:-1])  # wrappers around one place
        if not missing and is_sound:
            return None
        what = ("a chain of " if len(names) > 1 else "") + ", ".join(f"'{redact(name)}'" for name in names)
        reason = f"{what} is not allowed from there (allowed: {', '.join(sorted(allowed)) or 'its own origin'})"
        return _Finding(reason, self._with_schemes(missing, allowed) if is_sound else None)

    def _allowed(self, source: str) -> frozenset[str]:
        names = _NETWORK_FROM_LOCAL if is_local(source) else _NETWORK
        names = names if self.schemes is None else frozenset(self.schemes)
        return names | {"file"} if is_local(source) or self.allow_local else names

    def _with_schemes(self, missing: frozenset[str], allowed: frozenset[str]) -> "UrlPolicy | None":
        local = replace(self, allow_local=self.allow_local or "file" in missing)
        names = missing - {"file"}
        return _with(local, "schemes", names | (allowed - {"file"})) if names else local

    def _host_finding(self, element: str, kind: str, source: str) -> _Finding | None:
        name = host(element)
        if self.hosts is not None:
            if any(_matches(pattern, _labels(element)) for pattern in self.hosts):
                return None
            reason = f"'{redact(name)}' is not among the hosts allowed (allowed: {', '.join(sorted(self.hosts))})"
        else:
            if kind in _BUCKETS or is_local(source) or name in _hosts(source) or not _is_private(name):
                return None
            reason = f"'{redact(name)}' is a host of this machine or a private network"
        return _Finding(reason, _with(self, "hosts", {*(self.hosts or ()), name}))


def _checked(
    field: str, given: Collection[str] | None, pattern: re.Pattern[str], example: str
) -> frozenset[str] | None:
    if given is None:
        return None
    advice = f"Write {field}=['{example}']."
    if isinstance(given, (str, bytes)):
        raise TypeError(f"{field} must be a list of names, got the text {given!r}. {advice}")
    names = list(given)
    for name in names:
        text: object = name
        if not isinstance(text, str):
            raise TypeError(f"{field} must be a list of names, got {text!r} in it. {advice}")
        if not pattern.fullmatch(text.lower()):
            raise ValueError(f"{field} must be a list of bare names, got '{redact(text)}' in it. {advice}")
    return frozenset(name.lower() for name in names)


def _with(policy: UrlPolicy, field: Literal["schemes", "hosts"], names: Collection[str]) -> UrlPolicy | None:
    """Give `policy` with other `names` in a field; None where there is one that no policy can hold."""
    try:
        return replace(policy, schemes=names) if field == "schemes" else replace(policy, hosts=names)
    except ValueError:
        return None


def _pattern(text: str) -> str:
    """Give a pattern of `hosts` as hosts are written: IDNA, IPv6 addresses in their short form."""
    bare = _without_port(text)
    if ":" not in bare:
        return ascii_host(text)
    try:
        short = IPv6Address(bare.strip("[]")).compressed
    except ValueError as error:
        raise ValueError(f"hosts: '{redact(text)}' is no host, bucket or IPv6 address ({error}).") from None
    return short if bare == text else f"[{short}]{text.removeprefix(bare)}"


def _error(what: str, finding: _Finding, target: str, source: str) -> UrlPolicyError:
    where = redact(source)
    cure = finding.cure
    advice = f"Pass policy={cure} to open it anyway." if cure else "Write it as scheme://host/path."
    message = f"{where} {what}, but {finding.reason}. {advice}"
    return UrlPolicyError(message, url=where, value=redact(target))


def _kinds(url: str) -> Iterator[tuple[str, str]]:
    """Give the elements of `url` and the scheme of each; a wrapper's is its name."""
    head = split_chain(url).head
    for element in elements(url):
        is_wrapper = "://" not in element and element != head
        yield element, element.lower() if is_wrapper else scheme(element)


def _hosts(source: str) -> set[str]:
    """Give the hosts that the document itself came from."""
    return {host(element) for element in elements(source) if "://" in element} - {""}


def _labels(element: str) -> set[str]:
    """Give the texts that a pattern of `hosts` may match."""
    name, number = host(element), port(element)
    names = {name, f"[{name}]"} if ":" in name else {name.lower()}
    return names if number is None else names | {f"{n}:{number}" for n in names}


def _matches(pattern: str, labels: set[str]) -> bool:
    if pattern.startswith("["):  # an IPv6 address, no set of characters
        return pattern in labels
    return any(fnmatchcase(label, pattern) for label in labels)


def _without_port(pattern: str) -> str:
    match = _WITH_PORT.fullmatch(pattern)
    return match[1] if match else pattern


def _is_private(name: str) -> bool:
    """Say whether `name`, a host or an IP address in any notation, is not of the public internet."""
    text = name.lower().rstrip(".")
    if not text or any(text == private or text.endswith(f".{private}") for private in _PRIVATE_NAMES):
        return True
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return any(map(_is_private_address, _odd_ipv4(text)))
    return _is_private_ip(text)


def _is_private_ip(text: str) -> bool:
    """Say whether the IP address, perhaps with a zone, is private; what is no address is."""
    try:
        return _is_private_address(ip_address(text.partition("%")[0]))
    except ValueError:
        return True


def _is_private_address(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_private_address(inner)
        if address.is_site_local:  # deprecated by RFC 3879, still routed
            return True
    elif address in _CARRIER_GRADE:
        return True
    return not address.is_global or address.is_multicast or address.is_reserved


def _odd_ipv4(text: str) -> set[IPv4Address]:
    """Give the addresses that C's inet_aton may read in `text`: ``127.1``, ``0x7f.1``, ``2130706433``, ``0177.0.0.1``.

    A part with a leading zero is octal to some libraries and decimal to others: both count.
    """
    parts = text.split(".")
    if len(parts) > len(IPv4Address(0).packed):
        return set()
    found = set()
    for octal in (True, False):
        numbers = [_number(part, octal=octal) for part in parts]
        value = 0
        for number, bits in zip(numbers, [8] * (len(parts) - 1) + [8 * (5 - len(parts))], strict=True):
            if number is None or number >> bits:
                break
            value = value << bits | number
        else:
            found.add(IPv4Address(value))
    return found


def _number(text: str, *, octal: bool) -> int | None:
    if re.fullmatch(r"0x[0-9a-f]{0,16}", text):
        return int(text[2:] or "0", 16)
    if octal and re.fullmatch(r"0[0-7]{0,24}", text):
        return int(text, 8)
    return int(text) if re.fullmatch(r"[0-9]{1,24}", text) else None
