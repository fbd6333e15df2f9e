"""The servers of servers.py serve, and count exactly; other tests rest on that."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp
import fsspec
import pytest
from conftest import start
from servers import AzureServer, Nginx, ServerMissingError

BODY = bytes(range(256)) * 40
"""10,240 bytes: what every file of these tests holds."""
NAMES = ("plain.bin", "run 1/é + #1.bin")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a directory with two files, one of them under an awkward name."""
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(BODY)
    return tmp_path


@pytest.fixture(params=["s3_server", "gcs_server", "azure_server"])
def store(request: pytest.FixtureRequest) -> Any:
    """Give each of the object stores."""
    return request.getfixturevalue(request.param)


def filesystem(server: Any) -> Any:
    """Give a filesystem that knows nothing from earlier tests."""
    options = server.storage_options
    return fsspec.filesystem(server.protocol, skip_instance_cache=True, use_listings_cache=False, **options)


def test_store_serves_whole_objects_and_ranges_to_its_fsspec_filesystem(store: Any, directory: Path) -> None:
    """Objects put with put_tree come back byte for byte, whole and in part, under plain and awkward keys."""
    url = store.put_tree(directory, store.new_bucket(), "a/b")
    fs = filesystem(store)
    for name in NAMES:
        assert fs.cat_file(f"{url}/{name}") == BODY
        assert fs.cat_file(f"{url}/{name}", start=10, end=20) == bytes(range(10, 20))


def test_store_records_each_ranged_read_and_what_it_sent(store: Any, directory: Path) -> None:
    """One ranged read is one GET on record, with its range, its status 206 and the bytes that were sent."""
    url = store.put_tree(directory, store.new_bucket())
    fs = filesystem(store)
    fs.cat_file(f"{url}/plain.bin", start=10, end=20)
    ranged = [r for r in store.requests if r.range is not None]
    assert [(r.method, r.range, r.status, r.sent) for r in ranged] == [("GET", "bytes=10-19", 206, 10)]
    assert ranged[0].path.endswith("/plain.bin") or ranged[0].path.endswith("%2Fplain.bin")


def test_store_does_not_count_put_tree(store: Any, directory: Path) -> None:
    """Uploading test data leaves no requests on record."""
    store.put_tree(directory, store.new_bucket())
    assert store.requests == []


def test_store_gives_new_bucket_names(store: Any) -> None:
    """No two tests share a bucket."""
    assert store.new_bucket() != store.new_bucket()


def test_s3_lets_anonymous_users_read_public_objects_only(s3_server: Any, directory: Path) -> None:
    """put_tree(public=True) can be read without credentials; without it that is refused."""
    public = s3_server.put_tree(directory, s3_server.new_bucket(), public=True)
    private = s3_server.put_tree(directory, s3_server.new_bucket())
    fs = fsspec.filesystem("s3", **s3_server.anonymous_options)
    assert fs.cat_file(f"{public}/plain.bin", start=0, end=None) == BODY
    with pytest.raises(PermissionError, match=r"Forbidden|Access Denied"):
        fs.cat_file(f"{private}/plain.bin", start=0, end=None)


def test_s3_presigned_urls_work_over_plain_http(s3_server: Any, directory: Path) -> None:
    """A presigned URL carries its signature in the query and gives the object."""
    bucket = s3_server.put_tree(directory, s3_server.new_bucket()).removeprefix("s3://")
    url = s3_server.presign(bucket, "run 1/é + #1.bin")
    assert "Signature=" in url
    with urlopen(url) as reply:
        assert reply.read() == BODY


def test_azure_sas_urls_work_over_plain_http(azure_server: Any, directory: Path) -> None:
    """A container's SAS token opens its blobs over plain http; without it they are refused."""
    container = azure_server.put_tree(directory, azure_server.new_bucket()).removeprefix("abfs://")
    fs = fsspec.filesystem("http", skip_instance_cache=True)
    url = f"{azure_server.url}/devstoreaccount1/{container}/plain.bin"
    assert fs.cat_file(f"{url}?{azure_server.sas(container)}") == BODY
    with pytest.raises(aiohttp.ClientResponseError, match="403"):
        fs.cat_file(url)


def test_http_serves_whole_files_and_ranges(serve_http: Any, directory: Path) -> None:
    """Fsspec reads a file whole and in part, under plain and awkward names."""
    fs = fsspec.filesystem("http", skip_instance_cache=True)
    server = serve_http(directory)
    assert fs.cat_file(f"{server.url}/plain.bin") == BODY
    assert fs.cat_file(f"{server.url}/run%201/%C3%A9%20+%20%231.bin", start=10, end=20) == bytes(range(10, 20))
    first, second = server.requests
    assert (first.method, first.path, first.range, first.status, first.sent) == ("GET", "/plain.bin", None, 200, 10240)
    assert second.path == "/run%201/%C3%A9%20+%20%231.bin"
    assert (second.range, second.status, second.sent) == ("bytes=10-19", 206, 10)


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "body"),
    [
        ("bytes=0-0", 206, "bytes 0-0/10240", BODY[0:1]),
        ("bytes=10200-", 206, "bytes 10200-10239/10240", BODY[10200:10240]),
        ("bytes=10200-99999", 206, "bytes 10200-10239/10240", BODY[10200:10240]),
        ("bytes=-5", 206, "bytes 10235-10239/10240", BODY[10235:10240]),
        ("bytes=10240-", 416, "bytes */10240", BODY[0:0]),
        ("bytes=20-10", 200, None, BODY[0:10240]),
        ("bytes=0-1,5-6", 200, None, BODY[0:10240]),
        ("lines=0-1", 200, None, BODY[0:10240]),
    ],
)
async def test_http_answers_ranges_as_the_rfc_says(
    serve_http: Any, directory: Path, asked: str, status: int, content_range: str | None, body: bytes
) -> None:
    """Open, closed, suffix and unsatisfiable ranges follow RFC 9110; invalid and several ones give the whole file."""
    server = serve_http(directory)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/plain.bin", headers={"Range": asked}) as reply,
    ):
        assert await reply.read() == body
    assert (reply.status, reply.headers.get("Content-Range")) == (status, content_range)
    assert [(r.range, r.status, r.sent) for r in server.requests] == [(asked, status, len(body))]


def test_http_counts_the_requests_that_are_in_flight_together(serve_http: Any, directory: Path) -> None:
    """Eight readers of a slow server are eight requests in flight; clear() forgets them and the delay."""
    server = serve_http(directory)
    server.delay_s = 1.0
    url = f"{server.url}/plain.bin"
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda _: fetch(url), range(8)))
    assert bodies == [BODY] * 8
    assert (len(server.requests), server.max_in_flight) == (8, 8)
    server.clear()
    assert (server.requests, server.max_in_flight, server.delay_s) == ([], 0, 0.0)


def test_http_can_ignore_ranges(serve_http: Any, directory: Path) -> None:
    """With ignore_range a range request is answered 200 with the whole file."""
    server = serve_http(directory, ignore_range=True)
    fs = fsspec.filesystem("http", skip_instance_cache=True)
    assert fs.cat_file(f"{server.url}/plain.bin", start=10, end=20) == BODY
    assert [(r.range, r.status, r.sent) for r in server.requests] == [("bytes=10-19", 200, 10240)]


def test_http_can_require_a_header(serve_http: Any, directory: Path) -> None:
    """Without the required header the answer is 401 and no byte; with storage_options it is the file."""
    server = serve_http(directory, required_headers={"Authorization": "Bearer canary"})
    url = f"{server.url}/plain.bin"
    assert fsspec.filesystem("http", **server.storage_options).cat_file(url) == BODY
    with pytest.raises(aiohttp.ClientResponseError, match="401"):
        fsspec.filesystem("http", skip_instance_cache=True).cat_file(url)
    assert [(r.status, r.sent, r.headers.get("authorization")) for r in server.requests] == [
        (200, 10240, "Bearer canary"),
        (401, 0, None),
    ]


def test_http_serves_nothing_from_outside_its_directory(serve_http: Any, directory: Path) -> None:
    """Dots, also percent-encoded ones, do not lead out of the directory."""
    server = serve_http(directory / "run 1")
    with pytest.raises(FileNotFoundError, match=r"plain\.bin"):
        fsspec.filesystem("http", encoded=True, skip_instance_cache=True).cat_file(f"{server.url}/%2e%2e%2fplain.bin")
    assert [r.status for r in server.requests] == [404]


@pytest.mark.parametrize("gzip", [False, True])
def test_nginx_serves_files(serve_nginx: Any, directory: Path, gzip: bool) -> None:
    """Nginx gives whole files, compressed or not."""
    server = serve_nginx(directory, gzip=gzip)
    fs = fsspec.filesystem("http", skip_instance_cache=True)
    for name in ("plain.bin", "run%201/%C3%A9%20+%20%231.bin"):
        assert fs.cat_file(f"{server.url}/{name}") == BODY


@pytest.mark.parametrize(("gzip", "status", "length"), [(False, 206, 10), (True, 200, 10240)])
async def test_nginx_drops_ranges_where_it_compresses(
    serve_nginx: Any, directory: Path, gzip: bool, status: int, length: int
) -> None:
    """A range asked with Accept-Encoding: gzip is answered 206, or 200 and the whole file with gzip on."""
    server = serve_nginx(directory, gzip=gzip)
    headers = {"Range": "bytes=10-19", "Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/plain.bin", headers=headers) as reply:
        body = await reply.read()
    assert (reply.status, len(body)) == (status, length)


@pytest.mark.parametrize("ci", ["true", ""])
@pytest.mark.parametrize("name", ["nginx", "azurite"])
def test_a_missing_program_fails_in_ci_and_skips_elsewhere(
    monkeypatch: pytest.MonkeyPatch, directory: Path, ci: str, name: str
) -> None:
    """Where nginx or node is not installed the text names `make servers`; CI=true makes it a failure."""
    monkeypatch.setattr("servers.shutil.which", lambda *_args, **_options: None)
    monkeypatch.setenv("CI", ci)
    server = Nginx(directory) if name == "nginx" else AzureServer()
    outcome = pytest.fail.Exception if ci else pytest.skip.Exception
    with ExitStack() as stack, pytest.raises(outcome, match=rf"{name}.* is not installed\. Run `make servers`"):
        start(stack, server)
    with pytest.raises(ServerMissingError, match=r"Debian: apt-get install n"):
        server.__enter__()


def fetch(url: str) -> bytes:
    """Read `url` over a connection of its own."""
    with urlopen(url) as reply:
        return bytes(reply.read())
