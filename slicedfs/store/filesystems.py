"""Makes the fsspec filesystem of an origin. Blocks (imports, archives are opened): called in a thread."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slicedfs import url as urls
from slicedfs.errors import MissingExtraError, StoreError
from slicedfs.store.options import StoreOptions
from slicedfs.store.web import CONNECT_S, Session

if TYPE_CHECKING:
    from slicedfs.policy import UrlPolicy

__all__ = ["adopt", "make"]

_EXTRAS = {"s3": "s3", "gs": "gcs", "abfs": "azure"}
_LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}


def make(url: str, given: Any, options: StoreOptions, guard: "tuple[UrlPolicy, str] | None") -> Any:
    """Return the filesystem for `url` by the options or filesystem `given`.

    `guard` is (policy, source) where addresses must be checked.

    Raises
    ------
    MissingExtraError
        The library for the protocol is not installed.
    StoreError
        fsspec does not know the protocol.
    Exception
        Whatever the filesystem raises, where the options do not fit or an archive cannot be opened.
    """
    if not isinstance(given, Mapping):
        return adopt(given)
    try:
        return _made(url, dict(given), options, guard)
    except ImportError as error:
        missing = str(error)
    raise _missing_extra(url, missing)


def adopt(filesystem: Any) -> Any:
    """Return a filesystem that the user made, or its twin where it is bound to another loop or process."""
    pid = os.getpid()
    if getattr(filesystem, "_pid", pid) == pid and not getattr(filesystem, "asynchronous", False):
        return filesystem
    options = {**filesystem.storage_options}
    if "asynchronous" in options:
        options["asynchronous"] = False
    return type(filesystem)(*filesystem.storage_args, **options)


def _made(url: str, given: dict[str, Any], options: StoreOptions, guard: "tuple[UrlPolicy, str] | None") -> Any:
    if urls.is_chained(url):
        return _chained(url, given)
    scheme = urls.scheme(url)
    kind = _kind(scheme, url)
    if scheme in ("http", "https"):
        given.setdefault("get_client", _session(options, guard))
    else:  # host, user and port of servers, account of Azure
        for key, value in kind._get_kwargs_from_urls(_authority_url(url)).items():
            given.setdefault(key, value)
    if scheme == "s3":
        _tune_s3(given, options)
    # fsspec shares instances by the text of the options, in the order in which they were written.
    filesystem = kind(**dict(sorted(given.items())))
    if scheme == "s3":
        filesystem.retries = 1  # slicedfs.store.retry is the one retry layer
    return filesystem


def _kind(scheme: str, url: str) -> Any:
    import fsspec

    try:
        return fsspec.get_filesystem_class(scheme)
    except ValueError:
        pass
    shown = urls.redact(url)
    raise StoreError(f"{shown}: fsspec does not know the protocol {scheme!r}. Install what provides it.", url=shown)


def _chained(url: str, given: dict[str, Any]) -> Any:
    """Make a chain with a head of no special characters: fsspec splits at every ``::`` of the text."""
    from fsspec.core import url_to_fs

    chain = urls.split_chain(url)
    return url_to_fs(f"{chain.prefix}{_authority_url(chain.head)}{chain.suffix}", **given)[0]


def _authority_url(url: str) -> str:
    """Return `url` with "x" for its path; the account, bucket or host stay."""
    scheme, _, body = url.partition("://")
    if urls.origin(url).endswith("://"):
        return f"{scheme}:///x" if scheme == "file" else f"{scheme}://x"
    return f"{scheme}://{body.partition('/')[0]}/x"


def _session(options: StoreOptions, guard: "tuple[UrlPolicy, str] | None") -> Session:
    if guard is None:
        return Session(options.stall_s)
    return Session(options.stall_s, *guard)


def _tune_s3(given: dict[str, Any], options: StoreOptions) -> None:
    """Let s3fs make as many connections as are asked for (10 otherwise), and retry nothing itself."""
    config = {
        "connect_timeout": CONNECT_S,
        "read_timeout": options.stall_s,
        "retries": {"total_max_attempts": 1},
        **dict(given.get("config_kwargs") or {}),
    }
    config["max_pool_connections"] = max(options.workers, config.get("max_pool_connections") or 0)
    given["config_kwargs"] = config


def _missing_extra(url: str, reason: str) -> MissingExtraError:
    scheme, shown = urls.scheme(url), urls.redact(url)
    if scheme in _EXTRAS:
        advice = f"{_LIBRARIES[scheme]} is not installed. Install slicedfs[{_EXTRAS[scheme]}]."
    else:
        advice = f"a library is not installed ({urls.redact_text(reason)}). Install it to read {scheme}:// URLs."
    return MissingExtraError(f"{shown}: {advice}", url=shown)
