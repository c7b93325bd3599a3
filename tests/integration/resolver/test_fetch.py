"""Fetching over HTTP against real servers on loopback: each attack is refused, and the server that it aims at is never asked."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme

from labelwheel.errors import AddressRefused, FetchError, ImageError, LabelwheelError, NotFoundError
from labelwheel.resolver.address import Web, read_address, read_url
from labelwheel.resolver.allow import AllowList
from labelwheel.resolver.dial import Dial
from labelwheel.resolver.fetch import REDIRECTS, Fetched, Fetcher, Validators
from labelwheel.settings import Settings
from tests.fixtures.image_server import ImageServer, names, serving_images
from tests.fixtures.line import picture

PICTURE = picture(1)
TOKEN = "Token of-label-studio"


class Fetch:
    """Fetchers with settings of a test's own, closed at its end."""

    def __init__(self) -> None:
        self._made: list[Fetcher] = []

    def __call__(self, sources: str = "", look: Any = None, **changes: Any) -> Fetcher:
        settings = Settings(home=Path("/nowhere"), image_sources=sources, **{"max_image_bytes": 100_000, **changes})
        allowed = AllowList.of(settings)
        fetcher = Fetcher(settings, allowed, lambda: TOKEN, Dial(allowed, look) if look else None)
        self._made.append(fetcher)
        return fetcher

    def close(self) -> None:
        for fetcher in self._made:
            fetcher.close()


@pytest.fixture
def fetch() -> Iterator[Fetch]:
    made = Fetch()
    yield made
    made.close()


def get(fetcher: Fetcher, address: str, known: Validators | None = None) -> Fetched:
    """As the resolver does it: read the address, then fetch it."""
    found = read_address(address, "http://127.0.0.1:1")
    assert isinstance(found, Web)
    return fetcher.get(found.url, known)


# what is allowed


def test_an_image_of_an_open_source_is_fetched(fetch: Fetch, image_server: ImageServer) -> None:
    address = image_server.serve("/line-1/a.png", PICTURE)
    assert get(fetch(f"{image_server.url}/line-1/"), f"{address}?size=full").data == PICTURE
    ((path, headers),) = image_server.asked
    assert path == "/line-1/a.png?size=full"
    assert headers["host"] == f"127.0.0.1:{image_server.port}"
    assert "authorization" not in headers


def test_connections_are_used_again_and_one_that_was_closed_is_replaced(fetch: Fetch, image_server: ImageServer) -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True  # without having said so
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PICTURE) + PICTURE)

    image_server.pages["/hang-up.png"] = hang_up
    image_server.serve("/a.png", PICTURE)
    fetcher = fetch(image_server.url)
    answers = [get(fetcher, f"{image_server.url}/{page}").data for page in ("a.png", "hang-up.png", "a.png", "hang-up.png", "a.png")]
    assert answers == [PICTURE] * 5


def test_an_image_that_did_not_change_is_not_sent_again(fetch: Fetch, image_server: ImageServer) -> None:
    fetcher = fetch(image_server.url)
    by_tag = image_server.serve("/tag.png", PICTURE, etag='W/"v1"')
    by_time = image_server.serve("/time.png", PICTURE, last_modified="Mon, 23 Nov 2026 06:00:00 GMT")
    for address in (by_tag, by_time):
        first = get(fetcher, address)
        assert first.data == PICTURE
        assert get(fetcher, address, first.validators) == Fetched(None, first.validators)
    image_server.serve("/tag.png", picture(2), etag='"v2"')
    assert get(fetcher, by_tag, Validators(etag='W/"v1"')) == Fetched(picture(2), Validators(etag='"v2"'))


def test_a_304_that_nobody_asked_for_is_no_image(fetch: Fetch, image_server: ImageServer) -> None:
    with pytest.raises(FetchError, match="304"):
        get(fetch(image_server.url), image_server.serve("/a.png", b"", 304))


# what aims at a server that nobody allowed


def aimed(port: int) -> list[str]:
    """Addresses that some client somewhere takes to 127.0.0.1:port."""
    hosts = ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1",
             "017700000001", "0", "0.0.0.0", "127.0.0.1.", "127.127.127.127", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
             "[0:0:0:0:0:ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "①②⑦.⓪.⓪.①", "１２７.0.0.1", "%31%32%37.0.0.1",
             "open.example@127.0.0.1", "open.example:80@127.0.0.1", "open.example%2f@127.0.0.1", "127.0.0.1%00.open.example",
             "127.0.0.1%23.open.example", "127.0.0.1\\@open.example", "127.0.0.1\r\n.open.example"]  # fmt: skip
    by_host = [f"http://{host}:{port}/secret.png" for host in hosts]
    return [
        *by_host,
        f"http://127.0.0.1:{port}#@open.example/secret.png",
        f"http://127.0.0.1:{port}?@open.example/secret.png",
        f"http://127.0.0.1:{port}\\@open.example/secret.png",
        f"http://open.example\\@127.0.0.1:{port}/secret.png",
        f"HTTP://127.0.0.1:{port}/secret.png",
        f"//127.0.0.1:{port}/secret.png",
        f"/\\127.0.0.1:{port}/secret.png",
        f"http:/127.0.0.1:{port}/secret.png",
        f"gopher://127.0.0.1:{port}/_GET%20/secret.png",
        f"ftp://127.0.0.1:{port}/secret.png",
        f"simplecache::http://127.0.0.1:{port}/secret.png",
        f"s3://bucket/x::http://127.0.0.1:{port}/secret.png",
        f"http://open.example/x\r\nHost: 127.0.0.1:{port}\r\n\r\n",
    ]


def test_no_notation_reaches_a_server_that_is_not_listed(fetch: Fetch, image_server: ImageServer) -> None:
    image_server.serve("/secret.png", PICTURE)
    fetcher = fetch("http://open.example/")  # names are looked up by the real resolver
    for address in aimed(image_server.port):
        with pytest.raises(AddressRefused):
            get(fetcher, address)
    assert image_server.asked == []


INSIDE = ["127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "100.100.100.200", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
          "fd00:ec2::254", "fe80::1%1"]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_a_listed_name_that_leads_inside_is_refused(fetch: Fetch, image_server: ImageServer, address: str) -> None:
    image_server.serve("/secret.png", PICTURE)
    url = f"http://images.example:{image_server.port}/secret.png"
    fetcher = fetch(f"http://images.example:{image_server.port}/", names({"images.example": [address]}))
    with pytest.raises(AddressRefused, match="not a public address"):
        get(fetcher, url)
    mixed = fetch(f"http://images.example:{image_server.port}/", names({"images.example": ["93.184.215.14", address]}))
    with pytest.raises(AddressRefused, match="not a public address"):
        get(mixed, url)
    assert image_server.asked == []


def test_a_listed_name_in_an_open_network_is_reached_by_its_name(fetch: Fetch, image_server: ImageServer) -> None:
    image_server.serve("/a.png", PICTURE)
    source = f"http://images.plant:{image_server.port}/"
    fetcher = fetch(source, names({"images.plant": ["127.0.0.1"]}), image_networks="127.0.0.0/8")
    assert get(fetcher, f"http://IMAGES.plant:{image_server.port}/a.png").data == PICTURE
    assert image_server.asked[0][1]["host"] == f"images.plant:{image_server.port}"


def test_a_name_is_looked_up_once_and_what_was_judged_is_connected_to(fetch: Fetch, image_server: ImageServer) -> None:
    """DNS re-binding: the name leads elsewhere at every look."""
    image_server.serve("/a.png", PICTURE)
    looks = iter([["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"]])
    calls: list[str] = []

    def look(host: str, port: int, **_: Any) -> list[Any]:
        calls.append(host)
        return [(0, 0, 0, "", (address, port)) for address in next(looks)]

    with serving_images("127.0.0.2", image_server.port) as other:
        other.serve("/a.png", b"the other one")
        fetcher = fetch(f"http://images.plant:{image_server.port}/", look, image_networks="127.0.0.1/32")
        assert get(fetcher, f"http://images.plant:{image_server.port}/a.png").data == PICTURE
        assert calls == ["images.plant"]
        fetcher.close()  # a new connection looks again, and judges again
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.2"):
            get(fetcher, f"http://images.plant:{image_server.port}/a.png")
        assert other.asked == []
    assert len(image_server.asked) == 1


def test_the_next_address_of_a_name_is_tried_when_one_does_not_answer(fetch: Fetch, image_server: ImageServer) -> None:
    image_server.serve("/a.png", PICTURE)
    fetcher = fetch(
        f"http://images.plant:{image_server.port}/", names({"images.plant": ["127.0.0.3", "127.0.0.1"]}), image_networks="127.0.0.0/8"
    )
    assert get(fetcher, f"http://images.plant:{image_server.port}/a.png").data == PICTURE


def test_proxies_of_the_environment_are_not_asked(fetch: Fetch, image_server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look the name up once more, and connect where it likes."""
    image_server.serve("/a.png", PICTURE)
    with serving_images() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert get(fetch(image_server.url), f"{image_server.url}/a.png").data == PICTURE
        assert proxy.asked == []


# redirects


def test_every_hop_is_judged(fetch: Fetch, image_server: ImageServer) -> None:
    with serving_images() as secret:
        secret.serve("/secret.png", PICTURE)
        targets = [
            *aimed(secret.port),
            "file:///etc/passwd",
            "/closed/a.png",
            "../closed/a.png",
            "data:image/png;base64,AA",
            "s3://bucket/key",
        ]
        fetcher = fetch(f"{image_server.url}/open/")
        for number, target in enumerate(targets):
            if "\r" in target or not target.isascii():
                continue  # no header can carry it
            with pytest.raises(LabelwheelError):
                get(fetcher, image_server.redirect(f"/open/{number}", target))
        assert secret.asked == []
    assert not any(path.startswith("/closed") for path in image_server.paths())


def test_a_redirect_to_an_open_source_is_followed(fetch: Fetch, image_server: ImageServer) -> None:
    image_server.serve("/open/b.png", PICTURE)
    fetcher = fetch(f"{image_server.url}/open/")
    for status in (301, 302, 303, 307, 308):
        assert get(fetcher, image_server.redirect("/open/a.png", "b.png", status)).data == PICTURE


def test_a_redirect_by_name_that_leads_inside_is_refused(fetch: Fetch, image_server: ImageServer) -> None:
    port = image_server.port
    image_server.serve("/secret.png", PICTURE)
    address = image_server.redirect("/a.png", f"http://other.example:{port}/secret.png")
    fetcher = fetch(
        f"{image_server.url}/a.png http://other.example:{port}/", names({"127.0.0.1": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    )
    with pytest.raises(AddressRefused, match="not a public address"):
        get(fetcher, address)
    assert image_server.paths() == ["/a.png"]


def test_a_circle_of_redirects_ends(fetch: Fetch, image_server: ImageServer) -> None:
    with pytest.raises(FetchError, match="redirected more than"):
        get(fetch(image_server.url), image_server.redirect("/a.png", "/a.png"))
    assert len(image_server.asked) == REDIRECTS + 1


# limits


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:  # until the other side hangs up
        handler.wfile.write(bytes(65536))


def test_an_answer_without_an_end_is_left_at_the_limit(fetch: Fetch, image_server: ImageServer) -> None:
    image_server.pages["/endless.png"] = endless
    with pytest.raises(ImageError, match="MAX_IMAGE_BYTES"):
        get(fetch(image_server.url), f"{image_server.url}/endless.png")


def test_an_answer_that_announces_too_much_is_not_read(fetch: Fetch, image_server: ImageServer) -> None:
    def announce(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100001")
        handler.end_headers()
        handler.rfile.read(1)  # sends nothing, and waits for the hang-up

    image_server.pages["/large.png"] = announce
    with pytest.raises(ImageError, match="more than 100,000 bytes"):
        get(fetch(image_server.url), f"{image_server.url}/large.png")


def test_the_limit_itself_is_accepted(fetch: Fetch, image_server: ImageServer) -> None:
    address = image_server.serve("/a.png", bytes(100_000))
    assert len(get(fetch(image_server.url), address).data or b"") == 100_000
    with pytest.raises(ImageError):
        get(fetch(image_server.url, max_image_bytes=99_999), address)


def drip(what: bytes) -> Any:
    def trick(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" if what == b"x" else b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
        while True:  # one byte at a time, each in time; `x` never ends its headers
            handler.wfile.write(what)
            time.sleep(0.02)

    return trick


@pytest.mark.parametrize("what", [b"x", b"\x00"], ids=["headers", "body"])
def test_an_answer_that_drips_ends_with_the_time_for_one_image(fetch: Fetch, image_server: ImageServer, what: bytes) -> None:
    image_server.pages["/drip.png"] = drip(what)
    with pytest.raises(FetchError, match="too long"):
        get(fetch(image_server.url, image_total_seconds=0.3), f"{image_server.url}/drip.png")


def test_a_circle_of_slow_redirects_shares_one_time(fetch: Fetch, image_server: ImageServer) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.2)
        handler.send_response(302)
        handler.send_header("Location", "/slow.png")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    image_server.pages["/slow.png"] = slow
    with pytest.raises(FetchError, match="too long"):
        get(fetch(image_server.url, image_total_seconds=0.5), f"{image_server.url}/slow.png")
    assert len(image_server.asked) <= 3


def test_a_silent_server_is_left(fetch: Fetch, image_server: ImageServer) -> None:
    image_server.pages["/silent.png"] = lambda handler: handler.rfile.read(1) and None
    with pytest.raises(FetchError, match="too long"):
        get(fetch(image_server.url, image_read_seconds=0.2), f"{image_server.url}/silent.png")


def test_what_is_packed_once_more_is_not_unpacked(fetch: Fetch, image_server: ImageServer) -> None:
    address = image_server.serve("/bomb.png", b"\x1f\x8b" + bytes(100), content_encoding="gzip")
    with pytest.raises(FetchError, match="compressed once more"):
        get(fetch(image_server.url), address)
    assert image_server.asked[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFoundError), (410, NotFoundError), (401, FetchError), (403, FetchError), (500, FetchError)]
)
def test_a_refusal_says_so_without_the_query(fetch: Fetch, image_server: ImageServer, status: int, kind: type[LabelwheelError]) -> None:
    address = image_server.serve("/a.png", b"", status)
    with pytest.raises(kind, match=str(status)) as caught:
        get(fetch(image_server.url), f"{address}?signature=do-not-tell")
    assert "do-not-tell" not in str(caught.value)


def test_nobody_there_is_said(fetch: Fetch) -> None:
    with serving_images() as gone:
        url = gone.url
    with pytest.raises(FetchError, match="cannot be reached"):
        get(fetch(url), f"{url}/a.png")
    with pytest.raises(FetchError, match="leads nowhere"):
        get(fetch("http://images.example/", names({})), "http://images.example/a.png")


@pytest.mark.parametrize(
    "noise", [b"", b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", b"HTTP/9 999\r\n\r\n"]
)
def test_a_server_that_talks_nonsense_is_an_error_of_ours(fetch: Fetch, image_server: ImageServer, noise: bytes) -> None:
    def trick(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(noise)
        handler.close_connection = True

    image_server.pages["/noise.png"] = trick
    with pytest.raises(FetchError):
        get(fetch(image_server.url), f"{image_server.url}/noise.png")


# Label Studio's token


def test_the_token_goes_to_label_studio_alone_and_only_for_images(fetch: Fetch, image_server: ImageServer) -> None:
    with serving_images() as elsewhere:
        elsewhere.serve("/a.png", PICTURE)
        fetcher = fetch(f"{elsewhere.url}/", label_studio_url=image_server.url)
        image_server.serve("/data/upload/7/a.png", PICTURE)
        image_server.redirect("/data/upload/7/moved.png", f"{elsewhere.url}/a.png")
        image_server.serve("/api/current-user/token", PICTURE)
        for path in ("/data/upload/7/a.png", "/data/upload/7/moved.png", "/api/current-user/token"):
            assert get(fetcher, image_server.url + path).data == PICTURE
        assert [headers.get("authorization") for _, headers in image_server.asked] == [TOKEN, TOKEN, None]
        assert ["authorization" in headers for _, headers in elsewhere.asked] == [False]


def test_a_path_of_label_studio_cannot_carry_the_token_elsewhere(fetch: Fetch, image_server: ImageServer) -> None:
    fetcher = fetch(label_studio_url=image_server.url)
    for path in ("/data/%2e%2e/api/users/", "/data/..%2fapi/users/"):
        with pytest.raises(AddressRefused):
            get(fetcher, image_server.url + path)
    assert image_server.asked == []


def test_label_studios_public_address_is_fetched_from_where_we_reach_it(fetch: Fetch, image_server: ImageServer) -> None:
    image_server.serve("/data/upload/7/a.png", PICTURE)
    fetcher = fetch(label_studio_url=image_server.url, label_studio_public_url="https://labels.example/studio")
    assert get(fetcher, "https://labels.example/studio/data/upload/7/a.png").data == PICTURE
    assert image_server.asked[0][1]["authorization"] == TOKEN


# TLS


@pytest.fixture
def secure_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageServer]:
    """A server with a certificate for images.plant, from an authority that this test trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("images.plant").configure_cert(context)
    with serving_images(tls=context) as server:
        yield server


def test_tls_checks_the_name_though_the_connection_goes_to_an_address(fetch: Fetch, secure_server: ImageServer) -> None:
    secure_server.serve("/a.png", PICTURE)
    port = secure_server.port
    look = names({"images.plant": ["127.0.0.1"], "other.plant": ["127.0.0.1"]})
    fetcher = fetch(f"https://images.plant:{port}/ https://other.plant:{port}/", look, image_networks="127.0.0.0/8")
    assert fetcher.get(read_url(f"https://images.plant:{port}/a.png")).data == PICTURE
    with pytest.raises(FetchError, match=r"certificate|CERTIFICATE"):
        fetcher.get(read_url(f"https://other.plant:{port}/a.png"))
    assert secure_server.paths() == ["/a.png"]
