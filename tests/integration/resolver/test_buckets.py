"""Objects in buckets through the real drivers: S3 by moto's server, Google's by an emulator.

There is no emulator of Azure on the package index. Its driver is driven against a stand-in that answers the two requests
which the driver makes for one object; what a real account does differently is not seen here.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from labelwheel.errors import AddressRefused, FetchError, ImageError, NotFoundError
from labelwheel.resolver.address import Bucket, read_address
from labelwheel.resolver.allow import AllowList
from labelwheel.resolver.bucket import read_object
from labelwheel.resolver.fetch import Validators
from labelwheel.settings import Settings
from tests.fixtures.image_server import ImageServer
from tests.fixtures.label_studio import free_port
from tests.fixtures.line import picture

PICTURE = picture(1)
NOBODY = Validators()
SETTINGS = Settings(home=Path("/nowhere"), max_image_bytes=100_000, image_total_seconds=20)


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of an S3 that the drivers find by their usual environment; bucket `pictures` holds line-1/a 1.png."""
    import boto3
    import fsspec

    usual = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_address,
    }
    for name, value in usual.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # another test's environment
    client = boto3.client("s3")
    client.create_bucket(Bucket="pictures")
    client.put_object(Bucket="pictures", Key="line-1/a 1.png", Body=PICTURE)
    return client


def test_an_object_is_read_and_again_only_when_it_changed(s3: Any) -> None:
    first = read_object("s3://pictures/line-1/a 1.png", SETTINGS, NOBODY)
    assert first.data == PICTURE
    assert first.validators
    assert read_object("s3://pictures/line-1/a 1.png", SETTINGS, first.validators).data is None
    s3.put_object(Bucket="pictures", Key="line-1/a 1.png", Body=picture(2))
    changed = read_object("s3://pictures/line-1/a 1.png", SETTINGS, first.validators)
    assert changed.data == picture(2)
    assert changed.validators != first.validators


def test_an_object_that_is_too_large_is_refused_unread(s3: Any) -> None:
    s3.put_object(Bucket="pictures", Key="large.png", Body=bytes(100_001))
    with pytest.raises(ImageError, match="MAX_IMAGE_BYTES"):
        read_object("s3://pictures/large.png", SETTINGS, NOBODY)


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("uri", ["s3://pictures/gone.png", "s3://no-such-bucket/a.png", "s3://pictures/line-1"])
def test_an_object_that_is_not_there_is_not_found(uri: str) -> None:
    with pytest.raises(NotFoundError):
        read_object(uri, SETTINGS, NOBODY)


def test_a_store_that_nobody_answers_for_is_an_error_of_ours(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    hasty = SETTINGS.model_copy(update={"image_total_seconds": 2.0})
    with pytest.raises(FetchError):
        read_object("s3://pictures/line-1/a 1.png", hasty, NOBODY)


def test_a_bucket_is_closed_until_it_is_listed() -> None:
    allowed = AllowList.of(SETTINGS.model_copy(update={"image_sources": "s3://pictures/line-1/"}))
    allowed.check_object("s3://pictures/line-1/a 1.png")
    for uri in ("s3://pictures/line-2/a.png", "s3://secrets/line-1/a.png", "gs://pictures/line-1/a.png"):
        with pytest.raises(AddressRefused):
            allowed.check_object(uri)


@pytest.mark.parametrize(
    ("uri", "module", "driver"), [("s3://b/k", "s3fs", "s3fs"), ("gs://b/k", "gcsfs", "gcsfs"), ("az://b/k", "adlfs", "adlfs")]
)
def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch, uri: str, module: str, driver: str) -> None:
    from fsspec.registry import _registry

    monkeypatch.delitem(_registry, uri.partition(":")[0], raising=False)  # as if it had not been used before
    monkeypatch.setitem(sys.modules, module, None)  # what an import of something that is not installed meets
    with pytest.raises(FetchError, match=driver) as caught:
        read_object(uri, SETTINGS, NOBODY)
    assert "labelwheel[buckets]" in caught.value.cure


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Google's storage on loopback; bucket `pictures` holds line-1/a.png. The address of the emulator."""
    import fsspec
    from gcp_storage_emulator.server import create_server
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    address = f"http://127.0.0.1:{(port := free_port())}"
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="pictures")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    monkeypatch.setenv("FSSPEC_GS_TOKEN", "anon")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # read at import: it would ask Google itself for the kind of bucket
    fsspec.config.set_conf_env(fsspec.config.conf)
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    try:
        client = storage.Client(project="test", credentials=AnonymousCredentials())
        client.bucket("pictures").blob("line-1/a.png").upload_from_string(PICTURE, "image/png")
        yield address
    finally:
        server.stop()
        fsspec.config.conf.pop("gs", None)


@pytest.mark.usefixtures("google")
def test_an_object_of_google_is_read_and_again_only_when_it_changed() -> None:
    first = read_object("gs://pictures/line-1/a.png", SETTINGS, NOBODY)
    assert first.data == PICTURE
    assert first.validators
    assert read_object("gs://pictures/line-1/a.png", SETTINGS, first.validators).data is None
    with pytest.raises(NotFoundError):
        read_object("gs://pictures/gone.png", SETTINGS, NOBODY)


def blob(handler: BaseHTTPRequestHandler) -> None:
    """A blob's properties (HEAD) or its bytes (GET, mostly a range), as Azure's REST interface answers."""
    wanted = handler.headers.get("x-ms-range") or handler.headers.get("Range")
    body = PICTURE
    handler.send_response(206 if wanted else 200)
    if wanted:
        handler.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
    described = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Last-Modified": "Mon, 23 Nov 2026 06:00:00 GMT", "x-ms-blob-type": "BlockBlob",
                 "Content-Type": "image/png", "x-ms-version": "2021-08-06", "Content-Length": str(len(body))}  # fmt: skip
    for name, value in described.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(body)


def test_azures_driver_reads_an_object(image_server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    account = "devstoreaccount1"
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": account,
        "AccountKey": "a2V5",
        "BlobEndpoint": f"{image_server.url}/{account}",
    }
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", ";".join(f"{name}={value}" for name, value in parts.items()))
    fsspec.get_filesystem_class("az").clear_instance_cache()
    image_server.pages[f"/{account}/pictures/line-1/a.png"] = blob
    address = read_address("azure-blob://pictures/line-1/a.png", "")
    assert isinstance(address, Bucket)
    first = read_object(address.uri, SETTINGS, NOBODY)
    assert first.data == PICTURE
    assert first.validators
    assert read_object(address.uri, SETTINGS, first.validators).data is None
