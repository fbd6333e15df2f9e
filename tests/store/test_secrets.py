"""Canaries: secrets planted wherever users put them come out nowhere."""

import logging
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from faultserver import FaultServer

from slicedfs.errors import SlicedfsError
from slicedfs.ranges import ByteRange
from slicedfs.store import Request, Store, StoreOptions, run
from slicedfs.store.retry import Clock
from slicedfs.testing import RecordingFileSystem

CANARY = "canary9e2b"


async def no_sleep(_: float) -> None:
    """Do not wait between tries."""


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def closed_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def channels(error: BaseException, store: Store, request: Request) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every place where an error, a store or a request shows itself."""
    yield "traceback", "".join(traceback.format_exception(error))
    yield "pickled error", repr(pickle.dumps(error))
    yield "store", repr(store)
    yield "options", repr(store.options)
    yield "request", repr(request)
    link: BaseException | None = error
    while link is not None:
        name = type(link).__name__
        yield f"str {name}", str(link)
        yield f"repr {name}", repr(link)
        yield f"args {name}", repr(link.args)
        yield f"attributes {name}", repr(vars(link))
        yield f"notes {name}", repr(getattr(link, "__notes__", ()))
        for attribute in ("url", "value", "pointer", "filename", "filename2", "strerror"):
            yield f"{attribute} of {name}", repr(getattr(link, attribute, None))
        assert link.__context__ is None or link.__context__ is link.__cause__, "a foreign exception hangs on"
        link = link.__cause__


def at_http(mode: str) -> Callable[[FaultServer], tuple[Store, Request]]:
    """Return what makes a store and request with secrets in userinfo, query, fragment, headers and auth."""

    def make(server: FaultServer) -> tuple[Store, Request]:
        base = server.url.replace("//", f"//user:{CANARY}@")
        store = Store(
            StoreOptions(
                f"{base}/m.json?sig={CANARY}",
                {"headers": {"X-Api-Key": CANARY}, "client_kwargs": {"cookies": {"session": CANARY}}},
                {f"https://u:{CANARY}@h/": {"auth": ("u", CANARY)}},
                stall_s=0.2,
                max_tries=2,
            ),
            Clock(sleep=no_sleep),
        )
        return store, Request(f"{base}/{mode}/x?sig={CANARY}&X-Amz-Signature={CANARY}#{CANARY}", ByteRange(5, 50))

    make.__name__ = mode
    return make


def at_closed_port(_: FaultServer) -> tuple[Store, Request]:
    url = f"http://user:{CANARY}@127.0.0.1:{closed_port()}/x?sig={CANARY}"
    return Store(StoreOptions(url, max_tries=1)), Request(url)


def with_wrong_option(server: FaultServer) -> tuple[Store, Request]:
    url = f"{server.url}/good/x?sig={CANARY}"
    return Store(StoreOptions(url, {"key": CANARY, "nested": {"deep": [CANARY]}})), Request(url)


def redirected(server: FaultServer) -> tuple[Store, Request]:
    async def redirect(x: Any) -> None:
        await x.reply(302, Location=f"ftp://user:{CANARY}@h/x?sig={CANARY}")

    server.modes["elsewhere"] = redirect
    return at_http("elsewhere")(server)


def at_s3(server: FaultServer) -> tuple[Store, Request]:
    options = {
        "key": f"AK{CANARY}",
        "secret": CANARY,
        "token": CANARY,
        "endpoint_url": f"http://127.0.0.1:{closed_port()}/?x={CANARY}",
        "client_kwargs": {"region_name": "us-east-1"},
    }
    url = f"s3://b/x?X-Amz-Signature={CANARY}"
    return Store(StoreOptions(url, options, max_tries=1)), Request(url)


def at_s3_with_wrong_option(_: FaultServer) -> tuple[Store, Request]:
    url = "s3://b/x"
    return Store(StoreOptions(url, {"key": "k", "secrt": CANARY})), Request(url)


def at_azure(_: FaultServer) -> tuple[Store, Request]:
    options = {"connection_string": f"AccountName=x;AccountKey={CANARY};nonsense={CANARY}"}
    return Store(StoreOptions("abfs://c/x", options, max_tries=1)), Request("abfs://c/x")


def in_a_foreign_text(_: FaultServer) -> tuple[Store, Request]:
    name = uuid4().hex + CANARY
    fs = RecordingFileSystem(name=name)
    fs.files["b/x"] = b"x"
    text = f"https://u:{CANARY}@h/x?sig={CANARY} failed with Authorization: Bearer {CANARY} for {name}"
    fs.fail("b/x", ValueError(text))
    options = {"name": name, "headers": {"Authorization": f"Bearer {CANARY}"}}
    return Store(StoreOptions("recording://b/m.json", options)), Request("recording://b/x")


def in_a_chain(_: FaultServer) -> tuple[Store, Request]:
    url = f"zip://x::http://user:{CANARY}@127.0.0.1:{closed_port()}/a.zip?sig={CANARY}"
    return Store(StoreOptions(url, {"http": {"headers": {"X": CANARY}}}, max_tries=1)), Request(url)


@pytest.mark.parametrize(
    "make",
    [
        at_http("404"),
        at_http("403"),
        at_http("reset-halfway"),
        at_http("drip"),
        at_http("shifted-by-500"),
        at_http("redirect-loop"),
        at_http("redirect-to-file"),
        at_http("html-page"),
        redirected,
        at_closed_port,
        with_wrong_option,
        at_s3,
        at_s3_with_wrong_option,
        at_azure,
        in_a_foreign_text,
        in_a_chain,
    ],
    ids=lambda make: make.__name__,
)
def test_no_secret_comes_out(
    server: FaultServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    make: Callable[[FaultServer], tuple[Store, Request]],
) -> None:
    """No error, cause, traceback, pickle, repr, log or output holds a secret, whatever fails."""
    store, request = make(server)
    logging.getLogger("slicedfs").setLevel(logging.DEBUG)
    with pytest.raises(SlicedfsError, match=r"\w+://") as caught:
        run(store.read, request)
    found = [name for name, text in channels(caught.value, store, request) if CANARY in text]
    assert found == []
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("slicedfs")]
    assert CANARY not in "".join(logged)
    assert CANARY not in "".join(capfd.readouterr())
