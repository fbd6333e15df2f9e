"""Which reader serves a URL: one per origin, made on first use; where credentials and policy meet."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from slicedfs import url as urls
from slicedfs.errors import StoreError
from slicedfs.policy import UrlPolicy
from slicedfs.store.access import Choice, choose
from slicedfs.store.door import in_io_thread
from slicedfs.store.failures import judge, secrets, store_error
from slicedfs.store.filesystems import make
from slicedfs.store.memo import Memo
from slicedfs.store.options import Request, StoreOptions
from slicedfs.store.readers import Reader, is_archive, is_async, is_web, local_read, read_of, tries_itself
from slicedfs.store.retry import Clock, GaveUpError, RetryRule, retried
from slicedfs.store.slots import slots
from slicedfs.store.web import Web

__all__ = ["Origins"]

T = TypeVar("T")
_Guard = tuple[UrlPolicy, str] | None


class Origins:
    """The readers of one store, in one process.

    Parameters
    ----------
    options
        What the user said about whom to trust with what.
    clock
        Time and chance of the retries.
    """

    def __init__(self, options: StoreOptions, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self._root = urls.origin(options.root)
        self._by_text: dict[tuple[str, str | None], Reader] = {}
        self._readers: Memo[Any, Reader] = Memo()
        self._filesystems: Memo[Any, Any] = Memo()
        # With entries for parts of an origin, scheme and host do not yet tell which one counts.
        self._has_prefixes = any("://" in key for key in options.filesystems)

    async def reader(self, url: str, source: str | None) -> Reader:
        """Return the reader for `url` on behalf of the document at `source`.

        Raises
        ------
        UrlPolicyError
            The document may not lead there; asked once a pair of origins, as the answer depends on them alone.
        StoreError, MissingExtraError
            There is no filesystem for it.
        """
        if self._has_prefixes or "::" in url:
            return await self._reader(url, source)
        key = (_authority(url), None if source is None else _authority(source))
        reader = self._by_text.get(key)
        if reader is None:
            reader = self._by_text[key] = await self._reader(url, source)
        return reader

    def known(self, url: str, source: str | None) -> Reader | None:
        """Return the reader for `url` if it was made already; None where that cannot be told by the origin alone."""
        return self._by_text.get((_authority(url), None if source is None else _authority(source)))

    async def tried(self, attempt: Callable[[], Awaitable[T]], max_tries: int) -> T | GaveUpError:
        """Return what `attempt` gives, or why it does not.

        Not raised, since an error that is raised while another one is handled carries that one as its context.
        """
        try:
            return await retried(attempt, judge, RetryRule(max_tries, self._options.retry_s), self._clock)
        except GaveUpError as gave_up:
            return gave_up

    def error(self, gave_up: GaveUpError, request: Request) -> StoreError:
        """Return the error to raise for `request`, with a hint, without secrets."""
        hint = _hint(gave_up, request.url, choose(self._options, request.url))
        hidden = {*secrets(self._options.storage_options), *secrets(self._options.filesystems)}
        return store_error(gave_up, request.url, request.byte_range, hint=hint, hide=hidden)

    async def _reader(self, url: str, source: str | None) -> Reader:
        choice, guard = choose(self._options, url), self._guard(url, source)
        key = (urls.origin(url), None if source is None else urls.origin(source), choice.entry)
        return await self._readers.get(key, lambda: self._make_reader(url, source, choice, guard))

    async def _make_reader(self, url: str, source: str | None, choice: Choice, guard: _Guard) -> Reader:
        options = self._options
        if source is not None:
            options.policy.check(url, source)
        places = slots(urls.origin(url), options.concurrency)
        ours = isinstance(choice.given, Mapping)
        if ours and urls.is_local(url) and not urls.is_chained(url):
            return Reader(local_read, places, options.max_tries)
        filesystem = await self._filesystem(url, choice, guard)
        if is_web(filesystem):
            web = Web(filesystem, self._redirected, options.policy, options.stall_s)
            return Reader(
                web.read, places, options.max_tries, hedges=True, by_url=True, gives_ranges=lambda: not web.no_ranges
            )
        max_tries = min(2, options.max_tries) if tries_itself(filesystem, ours=ours) else options.max_tries
        no_ranges = is_archive(filesystem)
        return Reader(
            read_of(filesystem, url, options, ours=ours),
            places,
            max_tries,
            hedges=is_async(filesystem),
            gives_ranges=lambda: not no_ranges,
        )

    async def _redirected(self, url: str, source: str) -> Any:
        """Return the HTTPFileSystem for `url`, which a redirect from `source` leads to: it has its own credentials."""
        filesystem = await self._filesystem(url, choose(self._options, url), self._guard(url, source))
        if not is_web(filesystem):
            shown = urls.redact(url)
            raise StoreError(f"{shown}: a redirect leads here, to a filesystem that is not http.", url=shown)
        return filesystem

    async def _filesystem(self, url: str, choice: Choice, guard: _Guard) -> Any:
        key = (urls.origin(url), choice.entry, guard)
        return await self._filesystems.get(key, lambda: self._make_filesystem(url, choice, guard))

    async def _make_filesystem(self, url: str, choice: Choice, guard: _Guard) -> Any:
        """Make a filesystem; what fails is reported as a failure to read `url`."""

        async def attempt() -> Any:
            return await in_io_thread(make, url, choice.given, self._options, guard)

        made = await self.tried(attempt, self._options.max_tries)
        if isinstance(made, GaveUpError):
            raise self.error(made, Request(url))
        return made

    def _guard(self, url: str, source: str | None) -> _Guard:
        """Return on whose behalf the addresses of `url` are checked; None: what the user named is trusted."""
        origin = urls.origin(url)
        if origin == self._root or source is None:
            return None
        asker = urls.origin(source)
        if asker == origin:
            asker = self._root
        return None if urls.is_local(asker) else (self._options.policy, asker)


def _authority(url: str) -> str:
    """Return ``scheme://authority`` as written: equal texts have equal origins."""
    end = url.find("/", url.find("://") + 3)
    return url if end < 0 else url[:end]


def _hint(gave_up: GaveUpError, url: str, choice: Choice) -> str:
    """Return what to do about a refusal, or about options that the filesystem does not take."""
    if gave_up.verdict.misused and isinstance(choice.given, Mapping):
        names = ", ".join(sorted(map(str, choice.given))) or "none"
        return f"The options given for it are: {names}. Check storage_options and filesystems."
    if not gave_up.verdict.denied:
        return ""
    if choice.entry == "anonymous":
        key = urls.redact(f"{urls.origin(url)}/")
        return f"It was read anonymously; pass filesystems={{{key!r}: {{…}}}} with the options it needs."
    if urls.scheme(url) == "s3":
        return (
            "Check the credentials; for a public bucket pass storage_options={'anon': True}, where the requester pays "
            "{'requester_pays': True}."
        )
    return "Check the credentials in storage_options."
