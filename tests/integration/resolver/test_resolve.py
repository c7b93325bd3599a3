"""From task data to images and predictions, on a real database: fetched once, noticed when replaced, and answered by `/predict`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from threading import Event
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image as Picture
from pydantic import SecretStr
from sqlalchemy import func, select

from labelwheel.database import Database
from labelwheel.database.tables import Image, ImageAddress, Prediction
from labelwheel.errors import AddressRefused, ImageError, LabelStudioError, NotFoundError
from labelwheel.image_url import image_url
from labelwheel.resolver.resolve import Resolver
from ml_backend.app import create_app
from tests.fixtures.database import add_project
from tests.fixtures.image_server import ImageServer, serving_images
from tests.fixtures.line import LS_PROJECT, Line, picture
from tests.integration.ml_backend.test_doors import basic

Make = Callable[..., Resolver]


@pytest.fixture
def resolver(line: Line, image_server: ImageServer) -> Iterator[Make]:
    """Resolvers that may ask the image server, and ask it each time unless told otherwise."""
    made: list[Resolver] = []

    def make(**changes: Any) -> Resolver:
        settings = line.settings.model_copy(update={"image_sources": image_server.url, "image_recheck_seconds": 0.0, **changes})
        made.append(Resolver(settings, line.database, line.store))
        return made[-1]

    yield make
    for each in made:
        each.close()


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def inline(data: bytes) -> str:
    return "data:image/png;base64," + b64encode(data).decode()


# fetched once, noticed when replaced


def test_an_image_from_elsewhere_becomes_a_row_and_is_downloaded_once(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1), etag='"v1"')
    first = resolver().find(address, line.project.id)
    assert (first.image.width, first.image.height, first.image.size) == (96, 64, len(picture(1)))
    again = resolver().find(address, line.project.id)
    assert (again.image.id, again.pixels) == (first.image.id, None)
    assert [headers.get("if-none-match") for _, headers in image_server.asked] == [None, '"v1"']
    assert resolver().load(again).pixels.shape == (64, 96, 3)
    assert len(image_server.asked) == 2, "the copy in the cache was at hand"


def test_within_the_recheck_time_nobody_is_asked(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1))
    patient = resolver(image_recheck_seconds=3600.0)
    found = [patient.find(address, line.project.id).image.id for _ in range(3)]
    assert len(set(found)) == 1
    assert len(image_server.asked) == 1


def test_an_image_replaced_under_its_address_is_another_image(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1), etag='"v1"')
    first = resolver().find(address, line.project.id)
    image_server.serve("/a.png", picture(2), etag='"v2"')
    second = resolver().find(address, line.project.id)
    assert second.image.id != first.image.id
    assert resolver().find(address, line.project.id).image.id == second.image.id
    assert (count(line.database, Image), count(line.database, ImageAddress)) == (2, 1)


def test_a_server_without_validators_is_read_again_and_its_image_is_the_same(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1))
    assert resolver().find(address, line.project.id).image.id == resolver().find(address, line.project.id).image.id
    assert (count(line.database, Image), len(image_server.asked)) == (1, 2)


def test_equal_bytes_under_two_addresses_are_one_image(line: Line, resolver: Make, image_server: ImageServer) -> None:
    addresses = [image_server.serve("/a.png", picture(1)), image_server.serve("/b.png", picture(1)), inline(picture(1))]
    assert len({resolver().find(address, line.project.id).image.id for address in addresses}) == 1
    assert count(line.database, ImageAddress) == 2


def test_a_copy_that_vanished_is_fetched_again(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1), etag='"v1"')
    resolver().find(address, line.project.id)
    for copy in (line.settings.cache_dir / "images").glob("??/*"):
        copy.write_bytes(b"torn")
    known = resolver().find(address, line.project.id)
    assert known.pixels is None
    assert resolver().load(known).pixels.shape == (64, 96, 3)
    assert "if-none-match" not in image_server.asked[-1][1], "without the bytes a 304 would be of no use"


def test_without_a_cache_it_works_all_the_same(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1), etag='"v1"')
    for _ in range(2):
        bare = resolver(image_cache_bytes=0)
        assert bare.load(bare.find(address, line.project.id)).pixels.shape == (64, 96, 3)
    assert not line.settings.cache_dir.exists()


def test_an_image_that_a_camera_sent_and_one_from_elsewhere_are_the_same(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1))
    elsewhere = resolver().find(address, line.project.id).image
    line.inspect(1)
    assert count(line.database, Image) == 1
    assert line.store.read(elsewhere.uri) == picture(1)
    assert resolver().find(image_url(elsewhere.uri, line.settings), line.project.id).image.id == elsewhere.id


def test_projects_do_not_share_what_they_remember(line: Line, resolver: Make, image_server: ImageServer) -> None:
    other = add_project(line.database, 99)
    address = image_server.serve("/a.png", picture(1))
    patient = resolver(image_recheck_seconds=3600.0)
    assert patient.find(address, line.project.id).image.id != patient.find(address, other.id).image.id
    assert count(line.database, Image) == 2


def test_an_address_that_is_open_no_longer_is_refused_whatever_is_remembered(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1))
    resolver().find(address, line.project.id)
    with pytest.raises(AddressRefused):
        resolver(image_sources="", image_recheck_seconds=3600.0).find(address, line.project.id)


def test_two_databases_agree_on_what_is_remembered(either_database: Database, line: Line, image_server: ImageServer) -> None:
    """SQLite and PostgreSQL: the first look inserts, the next ones update."""
    project = add_project(either_database)
    settings = line.settings.model_copy(update={"image_sources": image_server.url, "image_recheck_seconds": 0.0})
    either = Resolver(settings, either_database, line.store)
    for seed in (1, 1, 2, 1):
        address = image_server.serve("/a.png", picture(seed), etag=f'"{seed}"')
        either.find(address, project.id)
    with either_database.read() as session:
        (row,) = session.scalars(select(ImageAddress))
    assert (row.etag, count(either_database, Image)) == ('"1"', 2)
    either.close()


def test_upright_is_what_the_camera_meant(line: Line, resolver: Make, image_server: ImageServer) -> None:
    stream = BytesIO()
    exif = Picture.Exif()
    exif[0x0112] = 6  # a quarter turn
    Picture.new("RGB", (96, 64)).save(stream, "JPEG", exif=exif)
    found = resolver().find(image_server.serve("/a.jpg", stream.getvalue()), line.project.id)
    assert (found.image.width, found.image.height) == (64, 96)


@pytest.mark.parametrize(("data", "reason"), [(b"<html>log in</html>", "not an image"), (b"", "empty"), (picture(1)[:100], "damaged"),
                                              (picture(1, 1200, 1200), "MAX_IMAGE_PIXELS")], ids=["html", "empty", "cut", "bomb"])  # fmt: skip
def test_what_is_no_image_leaves_no_trace(line: Line, resolver: Make, image_server: ImageServer, data: bytes, reason: str) -> None:
    for value in (image_server.serve("/a.png", data), inline(data)):
        with pytest.raises(ImageError, match=reason):
            resolver().find(value, line.project.id)
    assert (count(line.database, Image), count(line.database, ImageAddress)) == (0, 0)
    assert not line.settings.cache_dir.exists()


def test_a_signature_in_an_address_is_not_kept(line: Line, resolver: Make, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", picture(1))
    resolver().find(f"{address}?signature=do-not-keep", line.project.id)
    assert b"do-not-keep" not in b"".join(path.read_bytes() for path in line.settings.home.glob("labelwheel.db*"))


# Label Studio's files


def test_local_files_are_read_from_the_shared_disk(line: Line, resolver: Make) -> None:
    root = line.settings.home / "studio"
    (root / "images").mkdir(parents=True)
    (root / "images" / "a 1.png").write_bytes(picture(1))
    (line.settings.home / "secret.png").write_bytes(picture(2))
    (root / "out.png").symlink_to(line.settings.home / "secret.png")
    near = resolver(label_studio_files=root)
    for value in ("/data/local-files/?d=images/a%201.png", "http://127.0.0.1:8080/data/local-files/?d=images/a%201.png"):
        assert near.find(value, line.project.id).image.size == len(picture(1))
    (root / "images" / "a 1.png").write_bytes(picture(3, 32, 32))
    assert near.find("/data/local-files/?d=images/a%201.png", line.project.id).image.width == 32
    with pytest.raises(LabelStudioError, match="no token"):  # linked out of the root: Label Studio is to decide
        near.find("/data/local-files/?d=out.png", line.project.id)
    with pytest.raises(AddressRefused):
        near.find("/data/local-files/?d=../secret.png", line.project.id)
    with pytest.raises(AddressRefused):  # a stranger's address opens no file of ours
        near.find("http://elsewhere.example/data/local-files/?d=images/a%201.png", line.project.id)


def test_an_image_of_ours_that_is_gone_is_said(line: Line, resolver: Make) -> None:
    line.inspect(1)
    with line.database.read() as session:
        image = session.scalars(select(Image)).one()
    line.store.path(image.uri).unlink()
    found = resolver().find(image_url(image.uri, line.settings), line.project.id)
    with pytest.raises(NotFoundError, match="erased"):
        resolver().load(found)


def test_a_signed_address_of_ours_needs_no_http_and_a_forged_one_is_named(line: Line, resolver: Make) -> None:
    line.inspect(1)
    with line.database.read() as session:
        image = session.scalars(select(Image)).one()
    signed = image_url(image.uri, line.settings.model_copy(update={"image_urls": "signed"}))
    found = resolver().find(signed, line.project.id)
    assert (found.image.id, found.address) == (image.id, None)
    with pytest.raises(NotFoundError, match="not one of ours"):
        resolver().find(signed[:-9] + "forged123", line.project.id)


# /predict


@pytest.fixture
def studio() -> Iterator[ImageServer]:
    """A server in the place of Label Studio: it hands out uploads."""
    with serving_images() as server:
        yield server


@pytest.fixture
def client(line: Line, image_server: ImageServer, studio: ImageServer) -> FlaskClient:
    """ml_backend that may ask the image server below /open/, and Label Studio."""
    changes = {"image_sources": f"{image_server.url}/open/", "label_studio_url": studio.url, "label_studio_token": SecretStr("legacy")}
    return create_app(line.settings.model_copy(update=changes)).test_client()


def predict(client: FlaskClient, *values: Any) -> list[list[dict[str, Any]]]:
    tasks = [{"id": number, "data": {"image": value}} for number, value in enumerate(values)]
    answer = client.post("/predict", json={"project": f"{LS_PROJECT}.1", "tasks": tasks}, headers=basic())
    assert answer.status_code == 200
    results: list[list[dict[str, Any]]] = answer.json["results"]
    return results


def test_a_batch_of_every_kind_is_answered_and_the_bad_ones_spoil_none(
    line: Line, client: FlaskClient, image_server: ImageServer, studio: ImageServer
) -> None:
    line.deploy(0.9)
    line.inspect(1)
    with line.database.read() as session:
        ours = image_url(session.scalars(select(Image.uri)).one(), line.settings)
    (line.settings.media_dir / "near.png").write_bytes(picture(5))
    studio.serve("/data/upload/7/a.png", picture(3))
    good = [
        ours,
        image_server.serve("/open/b.png", picture(2)),
        "/data/upload/7/a.png",
        inline(picture(4)),
        "/data/local-files/?d=near.png",
    ]
    bad = ["/data/upload/7/gone.png", image_server.serve("/closed/c.png", picture(6)), image_server.serve("/open/d.png", b"no image"),
           "http://127.0.0.1:1/x.png", "file:///etc/passwd", "s3://closed/a.png", "data:,", None, 7, ["/open/b.png"]]  # fmt: skip
    results = predict(client, *[value for pair in zip(bad, good * 2, strict=True) for value in pair])
    assert [len(entry) for entry in results] == [0, 1] * 10
    assert {entry[0]["model_version"] for entry in results if entry} == {"labelwheel@1"}
    assert count(line.database, Prediction) == len(good)
    health = client.get("/health").json
    assert sum(health["unanswered"].values()) == len(bad)
    assert health["unanswered"]["not_found"] == 1
    assert health["unanswered"]["bad_image"] == 2
    assert {headers.get("authorization") for _, headers in studio.asked} == {"Token legacy"}
    assert not any("authorization" in headers for _, headers in image_server.asked)
    assert set(image_server.paths()) == {"/open/b.png", "/open/d.png"}


def test_a_task_opened_again_is_answered_from_the_store(line: Line, client: FlaskClient, image_server: ImageServer) -> None:
    line.deploy(0.9)
    address = image_server.serve("/open/a.png", picture(1))
    first = predict(client, address)
    image_server.pages.clear()
    assert predict(client, address) == first
    assert (count(line.database, Prediction), len(image_server.asked)) == (1, 1)


def test_a_new_model_looks_at_the_copy(line: Line, client: FlaskClient, image_server: ImageServer) -> None:
    line.deploy(0.9)
    address = image_server.serve("/open/a.png", picture(1))
    predict(client, address)
    line.deploy(0.5)
    image_server.pages.clear()
    app = create_app(client.application.config["LABELWHEEL"])  # has not looked for deployments yet
    ((answer,),) = predict(app.test_client(), address)
    assert answer["model_version"] == "labelwheel@2"
    assert len(image_server.asked) == 1


def test_a_large_batch_keeps_its_order(line: Line, client: FlaskClient, image_server: ImageServer) -> None:
    line.deploy(0.9)
    widths = [32 + 2 * number for number in range(40)]
    results = predict(client, *[image_server.serve(f"/open/{width}.png", picture(width, width, 48)) for width in widths])
    assert [entry[0]["result"][0]["original_width"] for entry in results] == widths


def test_a_slow_server_holds_up_no_task_whose_image_is_near(line: Line, client: FlaskClient, image_server: ImageServer) -> None:
    line.deploy(0.9)
    line.inspect(1)
    with line.database.read() as session:
        ours = image_url(session.scalars(select(Image.uri)).one(), line.settings)
    asked, gate = Event(), Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        gate.wait(30)
        handler.send_error(503)

    image_server.pages["/open/slow.png"] = slow
    slow_ones = [f"{image_server.url}/open/slow.png?{number}" for number in range(20)]
    with ThreadPoolExecutor(1) as others:
        waiting = others.submit(predict, client, *slow_ones)
        assert asked.wait(30)
        ((answer,),) = predict(client.application.test_client(), ours)
        assert not waiting.done()
        gate.set()
        assert waiting.result() == [[]] * 20
    assert answer["model_version"] == "labelwheel@1"
