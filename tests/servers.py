"""Real servers on the loopback interface, with exact counts of the requests that they got.

::

    with HttpServer(directory) as server:  # files, with ranges
        fsspec.open(f"{server.url}/a.json")
    with S3Server() as s3:  # moto; GcsServer and AzureServer are used the same way
        url = s3.put_tree(directory, s3.new_bucket(), "run 1")
        fsspec.open(f"{url}/a.json", **s3.storage_options)
        s3.requests, s3.max_in_flight, s3.clear()

The emulators run in processes of their own, and a counting proxy stands before each. A request is on record before its
first byte is answered, so a test may look at ``requests`` as soon as its read is done. Nothing here knows pytest: what
cannot start raises :class:`ServerMissingError`, whose text says how to get it.
"""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from aiohttp import web
from httpserver import HOST, HttpServer, RecordingServer, Request
from yarl import URL

__all__ = ["AzureServer", "GcsServer", "HttpServer", "Nginx", "Request", "S3Server", "ServerMissingError"]

ROOT = Path(__file__).parents[1]
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}


class ServerMissingError(RuntimeError):
    """A server's program is not installed; the text says how to get it."""


class _Emulator(RecordingServer):
    """A store's emulator in a process of its own, behind a counting proxy."""

    def __init__(self) -> None:
        super().__init__()
        self._process: _Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._buckets = 0

    def command(self, port: int, directory: Path) -> list[str]:
        """Give the command line that serves on `port`; `directory` is empty and goes when the server stops."""
        raise NotImplementedError

    def new_bucket(self) -> str:
        """Give a name that no other test uses."""
        self._buckets += 1
        return f"bucket-{self._buckets}"

    @property
    def upstream(self) -> str:
        """The emulator itself: requests to it are not counted."""
        assert self._process is not None, f"{type(self).__name__} is not running"
        return f"http://{HOST}:{self._process.port}"

    def __enter__(self) -> Self:
        self._process = _Process(self.command)
        try:
            return super().__enter__()
        except BaseException:
            self._process.stop()
            raise

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        assert self._process is not None
        self._process.stop()

    async def _start(self) -> None:
        # One connection per request: an emulator may close an idle one just as it is used again.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        await super()._start()

    async def _stop(self) -> None:
        await super()._stop()
        if self._session is not None:
            await self._session.close()

    async def answer(self, request: web.Request) -> web.Response:
        """Pass `request` on to the emulator as it came, with its Host, since signatures cover that."""
        assert self._session is not None
        body = await request.read()
        async with self._session.request(
            request.method,
            URL(self.upstream + request.raw_path, encoded=True),
            headers=[(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP | {"content-length"}],
            data=body or None,
            allow_redirects=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        ) as reply:
            answer = web.Response(status=reply.status, reason=reply.reason, body=await reply.read())
            for name, value in reply.headers.items():
                if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                    answer.headers.add(name, value)
            if request.method == "HEAD" and "Content-Length" in reply.headers:
                answer.headers["Content-Length"] = reply.headers["Content-Length"]
        return answer


class S3Server(_Emulator):
    """Amazon S3, by moto. Signatures are not checked; anonymous reads need ``put_tree(…, public=True)``."""

    protocol = "s3"

    def command(self, port: int, directory: Path) -> list[str]:
        """Give moto's command line."""
        return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]

    @property
    def storage_options(self) -> dict[str, Any]:
        """What s3fs needs to read and write here."""
        return {"key": "test-key", "secret": "test-secret"} | self._endpoint

    @property
    def anonymous_options(self) -> dict[str, Any]:
        """What s3fs needs to read public objects here."""
        return {"anon": True} | self._endpoint

    @property
    def _endpoint(self) -> dict[str, Any]:
        return {"endpoint_url": self.url, "client_kwargs": {"region_name": "us-east-1"}}

    def put_tree(self, directory: Path, bucket: str, prefix: str = "", *, public: bool = False) -> str:
        """Put all files below `directory` into `bucket`, which is made; return ``s3://bucket/prefix``."""
        client = self._client(self.upstream)
        acl = {"ACL": "public-read"} if public else {}
        client.create_bucket(Bucket=bucket, **acl)
        for key, path in _tree(directory, prefix):
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), **acl)
        client.close()
        return _join(f"s3://{bucket}", prefix)

    def presign(self, bucket: str, key: str) -> str:
        """Give an http URL of one object that carries a signature in its query."""
        return str(self._client(self.url).generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}))

    @staticmethod
    def _client(endpoint: str) -> Any:
        import boto3  # type: ignore[import-untyped]

        session = boto3.Session("test-key", "test-secret", region_name="us-east-1")
        return session.client("s3", endpoint_url=endpoint)


class GcsServer(_Emulator):
    """Google Cloud Storage, by gcp-storage-emulator. Credentials are not looked at.

    gcsfs reads ``GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT`` when it is imported: unless it is "false", each call first asks
    Google for the kind of the bucket, and waits for half a minute. conftest.py sets it.
    """

    protocol = "gs"

    def command(self, port: int, directory: Path) -> list[str]:
        """Give the emulator's command line."""
        options = [f"--host={HOST}", f"--port={port}", "--in-memory", "--quiet"]
        return [sys.executable, "-m", "gcp_storage_emulator", "start", *options]

    @property
    def storage_options(self) -> dict[str, Any]:
        """What gcsfs needs to read and write here."""
        return {"token": "anon", "endpoint_url": self.url, "project": "test"}

    def put_tree(self, directory: Path, bucket: str, prefix: str = "") -> str:
        """Put all files below `directory` into `bucket`, which is made; return ``gs://bucket/prefix``."""
        _post(f"{self.upstream}/storage/v1/b?project=test", b'{"name": "%s"}' % bucket.encode(), "application/json")
        for key, path in _tree(directory, prefix):
            url = f"{self.upstream}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
            _post(url, path.read_bytes(), "application/octet-stream")
        return _join(f"gs://{bucket}", prefix)


class AzureServer(_Emulator):
    """Azure Blob Storage, by azurite (a Node.js program, which `make servers` installs)."""

    protocol = "abfs"
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    """The key that Microsoft documents for the emulator's fixed account; no secret."""

    def command(self, port: int, directory: Path) -> list[str]:
        """Give azurite's command line."""
        script = ROOT / "node_modules" / ".bin" / "azurite-blob"
        if not script.exists() or shutil.which("node") is None:
            raise ServerMissingError(
                "azurite, the emulator of Azure Blob Storage, is not installed. Run `make servers` in the root of the "
                "repository; it needs node and npm (Debian: apt-get install nodejs npm)."
            )
        flags = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        return [str(script), "--blobHost", HOST, "--blobPort", str(port), *flags]

    @property
    def storage_options(self) -> dict[str, Any]:
        """What adlfs needs to read and write here."""
        return {"account_name": self.account, "connection_string": self._connection(self.url)}

    def put_tree(self, directory: Path, bucket: str, prefix: str = "", *, public: bool = False) -> str:
        """Put all files below `directory` into the container `bucket`, which is made; return ``abfs://bucket/prefix``."""
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(self._connection(self.upstream)) as service:
            service.create_container(bucket, public_access="blob" if public else None)
            for key, path in _tree(directory, prefix):
                service.get_blob_client(bucket, key).upload_blob(path.read_bytes())
        return _join(f"abfs://{bucket}", prefix)

    def sas(self, bucket: str) -> str:
        """Give a query that lets anyone read the blobs of the container `bucket` for an hour."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        expiry = datetime.now(UTC) + timedelta(hours=1)
        permission = ContainerSasPermissions(read=True)
        return generate_container_sas(self.account, bucket, self.key, permission=permission, expiry=expiry)

    def _connection(self, endpoint: str) -> str:
        account = f"AccountName={self.account};AccountKey={self.key}"
        return f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={endpoint}/{self.account};"


class Nginx:
    """Files of a directory, served by nginx (`make servers` installs it); no counts.

    Parameters
    ----------
    directory
        What is served.
    gzip
        Compress every answer for clients that accept it. nginx then ignores Range for them.
    """

    protocol = "http"

    def __init__(self, directory: Path, *, gzip: bool = False) -> None:
        self.directory = directory.resolve()
        self.gzip = gzip
        self._process: _Process | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash at the end."""
        assert self._process is not None, "Nginx is not running"
        return f"http://{HOST}:{self._process.port}"

    def command(self, port: int, directory: Path) -> list[str]:
        """Give nginx's command line, its configuration written into `directory`."""
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise ServerMissingError(
                "nginx is not installed. Run `make servers` as root in the root of the repository, or install it "
                "(Debian: apt-get install nginx-light)."
            )
        config = directory / "nginx.conf"
        config.write_text(self._config(port, directory))
        return [program, "-p", str(directory), "-c", str(config)]

    def _config(self, port: int, directory: Path) -> str:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
        gzip = "gzip on; gzip_types *; gzip_min_length 1;" if self.gzip else "gzip off;"
        types = "types { application/json json; image/tiff tif tiff; image/png png; }"
        server = f'server {{ listen {HOST}:{port}; root "{self.directory}"; {gzip} }}'
        return (
            f"daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;\n"
            "events { worker_connections 512; }\n"
            f"http {{ access_log off; {types} default_type application/octet-stream; {temporary}\n{server} }}\n"
        )

    def __enter__(self) -> Self:
        self._process = _Process(self.command)
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._process is not None
        self._process.stop()


class _Process:
    """A server's process on a free port; made when it answers HTTP."""

    def __init__(self, command: Callable[[int, Path], list[str]]) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="slicedfs-server-"))
        self.port = _free_port()
        self._log = self._directory / "log"
        environment = os.environ | {"PYTHONWARNINGS": "ignore"}
        try:
            argv = command(self.port, self._directory)
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    argv, cwd=self._directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        self._await_answer(argv[0])

    def _await_answer(self, program: str) -> None:
        deadline = time.monotonic() + 60
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log.read_text(errors="replace")[-2000:]
                self.stop()
                raise RuntimeError(f"{program} did not start on port {self.port}. Its last words:\n{log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the process, at first politely, and remove its files."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


def _free_port() -> int:
    """Give a port that nobody listens on, below the range from which the system takes ports for clients.

    Within that range a client that waits for the server may connect to itself, and so take the server's port.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise RuntimeError("No free port between 20000 and 32000.")


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def _post(url: str, body: bytes, content_type: str) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": content_type})
    urllib.request.urlopen(request, timeout=60).close()


def _tree(directory: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Give (key, file) for all files below `directory`, sorted."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield _join(prefix, path.relative_to(directory).as_posix()), path


def _join(*parts: str) -> str:
    return "/".join(part.strip("/") for part in parts if part)
