"""Servers and image sets for all tests. A server starts when the first test asks for it, and once."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar

import imagesets
import profiles  # noqa: F401 - the hypothesis profiles hold for all tests
import pytest
from servers import AzureServer, GcsServer, HttpServer, Nginx, S3Server, ServerMissingError

# Before any filesystem library is imported (the imports above load none): nothing may be asked of the cloud, of this
# machine's credentials, or of a proxy before a server on this machine. gcsfs reads its variable at import.
os.environ |= {
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
    os.environ.pop(name, None)

Server = TypeVar("Server", bound=AbstractContextManager[Any])


def start(stack: ExitStack, server: Server) -> Server:
    """Start `server`; where its program is missing, fail in CI and skip elsewhere, with the same text."""
    try:
        stack.enter_context(server)
    except ServerMissingError as error:
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(str(error))
        pytest.fail(str(error))
    return server


@pytest.fixture(autouse=True)
def _no_second_requests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send no second request where one seems stuck: on a busy machine one may, and tests count requests."""

    def never(self: object) -> bool:
        """Return False."""
        return False

    if request.path.name not in ("test_hedge.py", "test_pace.py"):
        monkeypatch.setattr("slicedfs.store.pace.Pace.may_hedge", never)


@pytest.fixture
def serve_http() -> Iterator[Callable[..., HttpServer]]:
    """Give ``serve_http(directory, **options)``, which starts an HttpServer for this test."""
    with ExitStack() as stack:
        yield lambda directory, **options: start(stack, HttpServer(directory, **options))


@pytest.fixture
def serve_nginx() -> Iterator[Callable[..., Nginx]]:
    """Give ``serve_nginx(directory, gzip=False)``, which starts an nginx for this test."""
    with ExitStack() as stack:
        yield lambda directory, **options: start(stack, Nginx(directory, **options))


@pytest.fixture(scope="session")
def running_s3() -> Iterator[S3Server]:
    """Give the session's S3; tests ask for `s3_server`, whose counts begin at zero."""
    with ExitStack() as stack:
        yield start(stack, S3Server())


@pytest.fixture(scope="session")
def running_gcs() -> Iterator[GcsServer]:
    """Give the session's Google Cloud Storage; tests ask for `gcs_server`, whose counts begin at zero."""
    with ExitStack() as stack:
        yield start(stack, GcsServer())


@pytest.fixture(scope="session")
def running_azure() -> Iterator[AzureServer]:
    """Give the session's Azure; tests ask for `azure_server`, whose counts begin at zero."""
    with ExitStack() as stack:
        yield start(stack, AzureServer())


@pytest.fixture
def s3_server(running_s3: S3Server) -> S3Server:
    """Give Amazon S3 (moto), its counts at zero."""
    running_s3.clear()
    return running_s3


@pytest.fixture
def gcs_server(running_gcs: GcsServer) -> GcsServer:
    """Give Google Cloud Storage (gcp-storage-emulator), its counts at zero."""
    running_gcs.clear()
    return running_gcs


@pytest.fixture
def azure_server(running_azure: AzureServer) -> AzureServer:
    """Give Azure Blob Storage (azurite), its counts at zero."""
    running_azure.clear()
    return running_azure


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the document of a SpaceTx experiment with the layouts ``imagesets.EXPERIMENT``; not to be changed."""
    return imagesets.write_experiment(tmp_path_factory.mktemp("experiment"), imagesets.EXPERIMENT)
