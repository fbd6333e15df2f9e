"""Which options belong to which origin: credentials go only where they were given for. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from slicedfs import url as urls
from slicedfs.store.options import StoreOptions

__all__ = ["ANONYMOUS", "Choice", "choose", "own_options"]

ANONYMOUS: Mapping[str, Mapping[str, Any]] = {
    "s3": {"anon": True},
    "gs": {"token": "anon"},
    "abfs": {"anon": True},
}
"""Options for references to origins that the user said nothing about."""


class Choice(NamedTuple):
    """What the user gave for a URL."""

    entry: str
    """Which entry it is: the key in `filesystems`, "root" or "anonymous"."""
    given: Any
    """Options, or an fsspec filesystem."""


def choose(options: StoreOptions, url: str) -> Choice:
    """Return what `options` give for `url`.

    The origin of the root: its storage_options. Else the longest prefix in `filesystems`, else its protocol, else
    nothing for the root and the anonymous options for others.
    """
    is_root = urls.origin(url) == urls.origin(options.root)
    if is_root and options.storage_options:
        return Choice("root", own_options(options.storage_options, url))
    best = max(
        ((_match(key, url), key) for key in options.filesystems),
        key=lambda match: match[0],
        default=(-1, ""),
    )
    if best[0] >= 0:
        return Choice(best[1], options.filesystems[best[1]])
    if is_root:
        return Choice("root", {})
    return Choice("anonymous", ANONYMOUS.get(urls.scheme(url), {}))


def own_options(given: Mapping[str, Any], url: str) -> Mapping[str, Any]:
    """Return the options in `given` that are for `url`'s protocol; flat ones are.

    fsspec also takes options keyed by protocol, ``{"s3": {"anon": True}}``; handed to a filesystem of another
    protocol these fail only at the first request.
    """
    if urls.is_chained(url):
        return given  # fsspec deals them out along the chain
    flat = {key: value for key, value in given.items() if not _is_keyed(key, value)}
    for key, value in given.items():
        if _is_keyed(key, value) and _family(_folded(key)) == _family(urls.scheme(url)):
            flat.update(value)
    return flat


def _is_keyed(key: str, value: object) -> bool:
    from fsspec.registry import known_implementations, registry

    return isinstance(value, Mapping) and (key in known_implementations or key in registry)


def _folded(protocol: str) -> str:
    return urls.scheme(f"{protocol}://x/y")


def _family(scheme: str) -> str:
    return "http" if scheme == "https" else scheme


def _match(key: str, url: str) -> int:
    """Return how specific the `filesystems` key is for `url`; -1 where it is for others."""
    protocol, separator, rest = key.partition("://")
    if not separator or not rest:  # "https" is not "http": what is given for one must not go over the other
        return 0 if _folded(protocol) == urls.scheme(url) and not urls.is_chained(url) else -1
    prefix = urls.canonical(key)
    if urls.origin(prefix) != urls.origin(url):
        return -1
    wanted, path = _path(prefix), _path(url)
    if path == wanted or path.startswith(wanted if wanted.endswith("/") or not wanted else f"{wanted}/"):
        return 1 + len(wanted)
    return -1


def _path(url: str) -> str:
    """Return the head's path without its leading slash, as written in the internal URL."""
    body = urls.split_chain(url).head.partition("://")[2]
    if urls.origin(url).endswith("://"):  # no authority
        return body.lstrip("/")
    return body.partition("/")[2].partition("?")[0].partition("#")[0]
