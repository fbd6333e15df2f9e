"""Hosts that every program reads alike."""

import re
import unicodedata

from slicedfs.url.parts import BUCKETS, HTTP, Parts, head_parts, host_port

_HTTP_AUTHORITY = re.compile(
    r"""(?:[^\s/\\@]*@)?                                      # user:password
        (?P<host>\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~%-]+)?\]    # IPv6, with a zone
          |[^\x00-\x20"\#%/:<>?@\[\\\]^`{|}\x7f]+)            # name or IPv4
        (?::[0-9]{0,5})?""",
    re.VERBOSE,
)
_SEPARATOR = re.compile(r"[/?#@:\\%\[\]]")
_UNSAFE = re.compile(r"[\\\s\x00-\x1f\x7f]")
_PORT_MAX = 65535


def authority_fault(url: str) -> str:
    """Say what is wrong with the host of the head, as the end of a sentence; "" where nothing is.

    Refused is what programs read in different ways: a backslash, a space, ``%``, a malformed port, compatibility
    characters that become separators.
    """
    return fault_of(head_parts(url))


def fault_of(parts: Parts) -> str:
    """Say the same of an element that is taken apart."""
    authority = parts.authority
    if not authority and (parts.scheme in HTTP or parts.scheme in BUCKETS):
        return "has no host or bucket"
    if _UNSAFE.search(authority):
        return "has a backslash or space in its host"
    if parts.scheme in HTTP and not _is_http_authority(authority):
        return "has no proper host and port"
    return ""


def _is_http_authority(authority: str) -> bool:
    match = _HTTP_AUTHORITY.fullmatch(authority)
    if match is None or int(host_port(authority)[1] or 0) > _PORT_MAX:
        return False
    # Compatibility characters (a full-width slash) turn into separators where IDNA is applied.
    return match["host"].startswith("[") or not _SEPARATOR.search(unicodedata.normalize("NFKC", match["host"]))
