"""URLs as text: join, origin, keys, redaction. Pure: nothing is opened, nothing is resolved.

Inside slicedfs a URL is an absolute `str`, percent-encoded the RFC 3986 way on *every* filesystem: decoding its path
once gives the object key or file name. What the user typed becomes one by :func:`canonical` (once: it is not
idempotent), what a document says by :func:`join`. Chained fsspec URLs keep their wrapper; references join the head.

::

    parts        what a URL consists of: chain, scheme, host, origin, name
    escaping     percent-encoding, dot segments, the keys to ask a filesystem for
    redaction    what people may see of a URL
    typed        what the user typed -> URL
    joining      a document's reference -> URL
"""

from slicedfs.url.escaping import http_url, key_candidates
from slicedfs.url.joining import Base, join
from slicedfs.url.parts import (
    ALIASES,
    PATH_ONLY,
    Chain,
    ascii_host,
    elements,
    extension,
    host,
    is_chained,
    is_http,
    is_local,
    name,
    origin,
    port,
    scheme,
    split_chain,
)
from slicedfs.url.redaction import redact, redact_text
from slicedfs.url.typed import canonical, root_candidates
from slicedfs.url.wellformed import authority_fault

__all__ = [
    "ALIASES",
    "PATH_ONLY",
    "Base",
    "Chain",
    "ascii_host",
    "authority_fault",
    "canonical",
    "elements",
    "extension",
    "host",
    "http_url",
    "is_chained",
    "is_http",
    "is_local",
    "join",
    "key_candidates",
    "name",
    "origin",
    "port",
    "redact",
    "redact_text",
    "root_candidates",
    "scheme",
    "split_chain",
]
