"""S3 over the wire: signatures, what s3fs shows, and when s3fs is asked again."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from faultserver import DATA, MODES, OTHER, S3_ERROR, Exchange, FaultServer, Seen
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.errors import MissingTileError, StoreError
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.store.retry import Clock
from slicedfs.store.wire.sigv4 import Keys, signed_fields, uri_encoded

SPAN = ByteRange(1000, 3000)
NOW = datetime(2026, 11, 21, 12, 44, 24, tzinfo=UTC)
ODD_KEYS = [
    "a b.bin",
    "a+b",
    "a~b",
    "a//b",
    "//a",
    "%41%2F",
    "é☃",
    "a?b#c",
    "../x",
    "./x",
    "a=b&c",
    "*'()!@$,;:[]",
    "a\tb",
]
MAY_FAIL = {
    "401-once", "64-bytes-too-many", "replaced-between-reads", "replaced-on-the-way", "range-of-stored-gzip", "drip",
    "half-without-length", "half-with-length", "shifted-by-500", "html-page", "bit-flip",
}  # fmt: skip
MUST_FAIL = {"404", "403", "reset-halfway", "close-halfway", "redirect-loop", "redirect-to-file"}


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    """Give a fault server that stands in for S3."""
    with FaultServer() as server:
        yield server


class Bucket:
    """A bucket on the fault server, and a store for it; the modes are folders in it."""

    def __init__(self, server: FaultServer, options: dict[str, Any] | None = None, **more: Any) -> None:
        self.server, self.name = server, f"bucket-{uuid4().hex}"
        endpoint = {"endpoint_url": server.url, "client_kwargs": {"region_name": "eu-test-7"}}
        given = {**endpoint, **({"key": "AK", "secret": "SK"} if options is None else options)}
        self.store = Store(StoreOptions(f"s3://{self.name}/m.json", given, **more), Clock(sleep=no_sleep))

    def read(self, key: str, span: ByteRange = SPAN) -> Reply:
        return run(self.store.read, Request(f"s3://{self.name}/{quote(key)}", span))

    @property
    def seen(self) -> list[Seen]:
        """The requests for this bucket."""
        return [seen for seen in self.server.seen if seen.path.startswith(f"/{self.name}/")]

    @property
    def by(self) -> str:
        """Who sent each of them: "f" s3fs, "w" the wire."""
        return "".join("w" if seen.headers["user-agent"].startswith("slicedfs/") else "f" for seen in self.seen)


def botocore_signature(target: str, headers: dict[str, str], token: str | None, region: str, now: datetime) -> str:
    """Return the Authorization header that botocore makes."""
    request = AWSRequest("GET", f"http://host.example.org{target}", headers=headers)
    auth = botocore.auth.S3SigV4Auth(Credentials("AK", "SK", token), "s3", region)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: now)
        auth.add_auth(request)
    return str(request.headers["Authorization"])


def our_signature(target: str, fields: dict[str, str], token: str | None = None) -> str:
    lines = signed_fields(target, fields, Keys("AK", "SK", token), "eu-test-7", NOW)
    return lines.partition("authorization: ")[2].removesuffix("\r\n")


@pytest.mark.parametrize("key", ODD_KEYS)
@pytest.mark.parametrize("token", [None, "session/token+=="])
def test_signatures_of_odd_keys(key: str, token: str | None) -> None:
    """The signature of any key, with a range, is botocore's own."""
    target = f"/bucket/{uri_encoded(key, '/')}"
    expected = botocore_signature(target, {"Range": "bytes=0-9"}, token, "eu-test-7", NOW)
    assert our_signature(target, {"host": "host.example.org", "range": "bytes=0-9"}, token) == expected


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    st.one_of(st.none(), st.text("aZ09._-+/=", min_size=1)),
)
def test_signatures(key: str, version: str | None) -> None:
    """The signature of every key, with or without a version, is botocore's own."""
    target = f"/bucket/{uri_encoded(key, '/')}" + (f"?versionId={uri_encoded(version)}" if version else "")
    expected = botocore_signature(target, {}, None, "eu-test-7", NOW)
    assert our_signature(target, {"host": "host.example.org"}) == expected


def test_keys_do_not_show() -> None:
    """The repr of credentials shows none."""
    assert repr(Keys("AK", "canary-1", "canary-2")) == "Keys(…)"


def check_signature(seen: Seen) -> None:
    """Check the signature of a request as S3 does: over what came, by botocore."""
    given = seen.headers["authorization"]
    names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    headers = {name: seen.headers[name] for name in names}
    now = datetime.strptime(headers.pop("x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    headers.pop("x-amz-content-sha256")
    assert given == botocore_signature(seen.path, headers, headers.pop("x-amz-security-token", None), "eu-test-7", now)


def test_one_bucket_is_shown_once(server: FaultServer) -> None:
    """The first request goes through s3fs, later ones over the wire: each is one, with the same reply, well signed."""
    bucket = Bucket(server)
    replies = [bucket.read(f"good/{key}") for key in ["x", "x", *ODD_KEYS]]
    assert {bytes(reply.data) for reply in replies} == {DATA[1000:3000]}
    assert {reply[1:] for reply in replies} == {(len(DATA), f'"{DATA[:4].hex()}"')}
    assert bucket.by == "f" + "w" * (len(replies) - 1)
    assert [seen.path for seen in bucket.seen[2:]] == [f"/{bucket.name}/good/{quote(k, safe='/~')}" for k in ODD_KEYS]
    for seen in bucket.seen:
        check_signature(seen)
    assert bucket.read("good/whole", WHOLE).data == DATA
    assert "range" not in bucket.seen[-1].headers


def test_temporary_credentials(server: FaultServer) -> None:
    """A session token is sent and signed."""
    bucket = Bucket(server, {"key": "AK", "secret": "SK", "token": "canary-token"})
    for _ in range(2):
        bucket.read("good/x")
    assert bucket.by == "fw"
    assert [seen.headers["x-amz-security-token"] for seen in bucket.seen] == ["canary-token"] * 2
    for seen in bucket.seen:
        check_signature(seen)


def test_credentials_that_change(server: FaultServer) -> None:
    """Credentials are asked for before each request, so that those which were renewed meanwhile are used."""
    bucket = Bucket(server, {"key": "AK", "secret": "SK", "token": "one"})
    bucket.read("good/x")

    class Renewed:
        async def get_frozen_credentials(self) -> Credentials:
            return Credentials("AK", "SK", "two")

    filesystem = _filesystem(bucket.store)
    filesystem._s3._request_signer._credentials = Renewed()
    bucket.read("good/x")
    assert (bucket.by, bucket.seen[-1].headers["x-amz-security-token"]) == ("fw", "two")
    check_signature(bucket.seen[-1])


def _filesystem(store: Store) -> Any:
    (filesystem,) = store._origins._filesystems._done.values()
    return filesystem


def test_a_client_made_anew(server: FaultServer) -> None:
    """Where s3fs makes its client anew, it shows the way again: credentials and endpoint may be others."""
    bucket = Bucket(server)
    bucket.read("good/x")

    async def refresh() -> None:
        await _filesystem(bucket.store).set_session(refresh=True)

    run(refresh)
    bucket.read("good/x")
    bucket.read("good/x")
    assert bucket.by == "ffw"


def test_anonymous(server: FaultServer) -> None:
    """Without credentials nothing is signed."""
    bucket = Bucket(server, {"anon": True})
    for _ in range(2):
        bucket.read("good/x")
    assert bucket.by == "fw"
    assert ["authorization" in seen.headers for seen in bucket.seen] == [False, False]


@pytest.mark.parametrize(
    "options",
    [
        {"requester_pays": True},
        {"s3_additional_kwargs": {"ExpectedBucketOwner": "123"}},
        {"s3_additional_kwargs": {"SSECustomerKey": "0" * 32, "SSECustomerAlgorithm": "AES256"}},
        {"config_kwargs": {"signature_version": "s3"}},
        {"config_kwargs": {"proxies": {}}},
    ],
)
def test_options_that_s3fs_alone_knows(server: FaultServer, options: dict[str, Any]) -> None:
    """With options out of the ordinary every request goes through s3fs."""
    bucket = Bucket(server, {"key": "AK", "secret": "SK", **options})
    for _ in range(3):
        assert bucket.read("good/x").data == DATA[1000:3000]
    assert bucket.by == "fff"


def test_proxies_of_the_environment(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names a proxy for the endpoint, s3fs alone asks."""
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    bucket = Bucket(server, {"key": "AK-behind-a-proxy", "secret": "SK"})  # no client was made for these before
    for _ in range(2):  # the server is its own proxy: it finds the path in the whole URL
        assert bucket.read("good/x").data == DATA[1000:3000]
    agents = [seen.headers["user-agent"] for seen in server.seen if f"/{bucket.name}/" in seen.path]
    assert ["slicedfs/" in agent for agent in agents] == [False, False]


@pytest.mark.parametrize("status", [400, 301, 307, 403])
def test_s3fs_looks_again(server: FaultServer, status: int) -> None:
    """A reply that s3fs may understand better is asked for again by it, as is the way to the bucket; thrice at most."""

    async def mode(x: Exchange) -> None:
        if x.seen.headers["user-agent"].startswith("slicedfs/"):
            await x.reply(status, S3_ERROR % b"ExpiredToken", Location="/elsewhere")
        else:
            await x.good()

    server.modes[f"odd-{status}"] = mode
    bucket = Bucket(server)
    bucket.read("good/x")
    for _ in range(6):
        assert bucket.read(f"odd-{status}/x").data == DATA[1000:3000]
    assert bucket.by == "f" + "wf" * 3 + "f" * 3


def test_refusals_keep_their_text(server: FaultServer) -> None:
    """A refusal on the wire is told as s3fs tells it, with the hint, after one try."""
    bucket = Bucket(server)
    bucket.read("good/x")
    with pytest.raises(StoreError, match=r"HTTP status 403 \(AccessDenied\).*requester_pays") as caught:
        bucket.read("403/x")
    assert (caught.value.status, caught.value.tries, bucket.by) == (403, 1, "fwf")


def test_missing_objects(server: FaultServer) -> None:
    """A missing object is a MissingTileError after one request; a missing bucket is looked at by s3fs."""

    async def missing(x: Exchange) -> None:
        await x.reply(404, S3_ERROR % b"NoSuchKey")

    async def gone(x: Exchange) -> None:
        await x.reply(404, S3_ERROR % b"NoSuchBucket")

    server.modes |= {"missing": missing, "gone": gone}
    bucket = Bucket(server)
    bucket.read("good/x")
    with pytest.raises(
        MissingTileError, match=r"missing/x: there is no such file \(HTTP status 404, bytes 1000-2999, 1 try\)"
    ):
        bucket.read("missing/x")
    assert bucket.by == "fw"
    with pytest.raises(StoreError, match="gone/x"):
        bucket.read("gone/x")
    assert bucket.by == "fwwf"


def test_ends(server: FaultServer) -> None:
    """A range past the end is an error at once, whatever the reply tells; an empty object is empty from its start."""
    size = b"<Error><Code>InvalidRange</Code><ActualObjectSize>%d</ActualObjectSize></Error>"

    async def past(x: Exchange) -> None:
        await x.reply(416, size % 500)

    async def empty(x: Exchange) -> None:
        await x.reply(416, size % 0)

    async def told(x: Exchange) -> None:
        await x.reply(416, Content_Range="bytes */500")

    server.modes |= {"past": past, "empty": empty, "told": told}
    bucket = Bucket(server)
    bucket.read("good/x")
    for mode in ("past", "told"):
        with pytest.raises(StoreError, match=r"byte 1000 is past the end of 500 bytes \(bytes 1000-2999, 1 try\)"):
            bucket.read(f"{mode}/x")
    assert bucket.read("empty/x", ByteRange(0, 10)) == Reply(b"", 0, None)
    assert bucket.by == "fwww"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_one_retry_layer(server: FaultServer, status: int) -> None:
    """A persistent failure costs five requests in all, none of them by s3fs."""

    async def fails(x: Exchange) -> None:
        await x.reply(status, S3_ERROR % b"SlowDown")

    server.modes[f"{status}-for-good"] = fails
    bucket = Bucket(server)
    bucket.read("good/x")
    with pytest.raises(StoreError, match=rf"HTTP status {status} \(SlowDown\) .*5 tries\)"):
        bucket.read(f"{status}-for-good/x")
    assert bucket.by == "fwwwww"


@pytest.mark.parametrize("mode", MODES)
def test_faults(server: FaultServer, mode: str) -> None:
    """On the wire too the 37 faults give the right bytes or an error, and no second layer retries."""
    more = {"max_tries": 2, "stall_s": 0.3} if mode == "drip" else {"stall_s": 1.0} if mode.startswith("stall") else {}
    bucket = Bucket(server, **more)
    bucket.read("good/x")
    span = ByteRange(1000, 201_000)
    expected = {"replaced-on-the-way": OTHER, "bit-flip": DATA[:100_000] + bytes([DATA[100_000] ^ 1]) + DATA[100_001:]}
    if mode in MUST_FAIL:
        with pytest.raises(StoreError, match=rf"s3://{bucket.name}/{mode}/x: "):
            bucket.read(f"{mode}/x", span)
    else:
        try:
            data = bucket.read(f"{mode}/x", span).data
        except StoreError as error:
            assert mode in MAY_FAIL
            assert f"s3://{bucket.name}/{mode}/x: could not be read" in str(error)  # noqa: PT017
        else:
            assert data == expected.get(mode, DATA)[span.start : span.stop]
    assert "w" in bucket.by
    seen = [seen for seen in bucket.seen[1:] if f"/{mode}/" in seen.path]
    # Of a redirect s3fs is told, which follows ten.
    assert 1 <= len(seen) <= (12 if mode.startswith("redirect") else 6)


def test_versions(s3_server: Any, tmp_path: Path) -> None:
    """A version of an object is read by its id over the wire too."""
    import boto3

    bucket = s3_server.new_bucket()
    client = boto3.Session("k", "s", region_name="us-east-1").client("s3", endpoint_url=s3_server.upstream)
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [client.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"old", b"newer")]
    client.delete_object(Bucket=bucket, Key="k")  # else the key without the query is found
    client.close()
    store = Store(StoreOptions(f"s3://{bucket}/m.json", {**s3_server.storage_options, "version_aware": True}))
    s3_server.clear()
    for version, body in [(ids[1], b"newer"), (ids[0], b"old"), (ids[1], b"newer")]:
        assert run(store.read, Request(f"s3://{bucket}/k?versionId={version}")).data == body
    seen = [(r.query, r.headers["user-agent"].startswith("slicedfs/")) for r in s3_server.requests]
    assert seen[0] == ("", False)
    assert seen[1:] == [(f"versionId={ids[1]}", False), (f"versionId={ids[0]}", True), (f"versionId={ids[1]}", True)]
