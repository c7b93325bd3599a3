"""The allow-list: closed by default, folders end at slashes, and no private address hides in another notation."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import AddressRefused, SettingsError
from labelwheel.resolver.address import read_url
from labelwheel.resolver.allow import AllowList, is_public, meant, read_networks, read_sources
from labelwheel.settings import Settings, load_settings


def listed(sources: str = "", networks: str = "", **changes: object) -> AllowList:
    given = {"label_studio_url": "http://127.0.0.1:8080", **changes}
    return AllowList.of(Settings(home=Path("/nowhere"), image_sources=sources, image_networks=networks, **given))


def opens(allowed: AllowList, address: str) -> bool:
    try:
        allowed.check_object(address) if address.startswith(("s3:", "gs:", "az:")) else allowed.check_url(read_url(address))
    except AddressRefused:
        return False
    return True


def reaches(allowed: AllowList, host: str, ip: str, port: int = 80) -> bool:
    try:
        allowed.check_ip(host, port, ipaddress.ip_address(ip))
    except AddressRefused:
        return False
    return True


def test_only_label_studio_is_open_by_default() -> None:
    allowed = listed(label_studio_public_url="https://labels.example")
    assert opens(allowed, "http://127.0.0.1:8080/data/upload/7/a.jpg")
    assert opens(allowed, "https://labels.example/data/upload/7/a.jpg")
    closed = ["http://127.0.0.1:8081/a", "https://127.0.0.1:8080/a", "http://labels.example/a", "https://images.example/a", "s3://bucket/a"]
    assert [address for address in closed if opens(allowed, address)] == []
    assert not opens(listed(label_studio_url=""), "http://127.0.0.1:8080/a")


@pytest.mark.parametrize(
    ("source", "open_ones", "closed_ones"),
    [
        (
            "https://images.example/line-1/",
            ["https://images.example/line-1/a.jpg", "https://IMAGES.example:443/line-1/b/c.jpg?x=1"],
            ["https://images.example/line-10/a.jpg", "https://images.example/a.jpg", "http://images.example/line-1/a.jpg",
             "https://images.example:8443/line-1/a.jpg", "https://images.example.evil.example/line-1/a.jpg", "https://evil.example/line-1/a.jpg",
             "https://sub.images.example/line-1/a.jpg", "https://images.example/line-1", "https://images.example/LINE-1/a.jpg"],
        ),
        ("https://images.example", ["https://images.example/a", "https://images.example/"], ["http://images.example/a"]),
        ("http://10.0.0.5:8000/", ["http://10.0.0.5:8000/a"], ["http://10.0.0.5/a", "http://10.0.0.50:8000/a", "http://[::ffff:10.0.0.5]:8000/a"]),
        ("s3://bucket/line-1", ["s3://bucket/line-1/a", "s3://bucket/line-1"],
         ["s3://bucket/line-10/a", "s3://bucket-2/line-1/a", "gs://bucket/line-1/a"]),
        ("azure-blob://pictures", ["az://pictures/a"], ["az://picturesque/a", "s3://pictures/a"]),
    ],
)  # fmt: skip
def test_a_source_opens_what_begins_with_it(source: str, open_ones: list[str], closed_ones: list[str]) -> None:
    allowed = listed(source)
    assert [opens(allowed, address) for address in open_ones] == [True] * len(open_ones)
    assert [address for address in closed_ones if opens(allowed, address)] == []


@pytest.mark.parametrize(
    "entry", ["images.example", "https://", "https://user@images.example/", "http://127.1/", "http://0x7f.1/", "file:///tmp/", "*", "https://*/",
              "https://*.example/", "s3://", "s3://*", "https://images.example/../", "https://images.example/?x=1", "http://images.example:0/"],
)  # fmt: skip
def test_a_source_that_cannot_be_read_is_refused_by_its_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entry: str) -> None:
    monkeypatch.setenv("LABELWHEEL_IMAGE_SOURCES", f"https://fine.example/ {entry}")
    if entry == "https://images.example/../":  # the one parser has taken the step already
        assert read_sources(entry)[0].path == "/"
        return
    with pytest.raises(SettingsError, match="LABELWHEEL_IMAGE_SOURCES"):
        load_settings(tmp_path)


def test_a_network_that_cannot_be_read_is_refused_by_its_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABELWHEEL_IMAGE_NETWORKS", "10.0.0.0/8 plant")
    with pytest.raises(SettingsError, match="LABELWHEEL_IMAGE_NETWORKS"):
        load_settings(tmp_path)


NEIGHBOURS = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
    "192.0.0.192", "192.88.99.1", "198.18.0.1", "192.0.2.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "168.63.129.16", "::", "::1", "fe80::1", "fe80::1%2", "fec0::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "2002:7f00:1::1", "2002:a00:1::", "2001:0:7f00:1::", "3fff::1", "100::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("ip", NEIGHBOURS)
def test_no_neighbour_is_reached_by_a_name(ip: str) -> None:
    assert not reaches(listed("http://images.example/"), "images.example", ip)


@pytest.mark.parametrize("ip", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_public_internet_is_reached(ip: str) -> None:
    assert reaches(listed("http://images.example/"), "images.example", ip)


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_however_it_is_wrapped(ip: IPv4Address) -> None:
    mapped, translated = IPv6Address(f"::ffff:{ip}"), IPv6Address(int(IPv6Address("64:ff9b::")) + int(ip))
    assert meant(mapped) == meant(translated) == ip
    assert is_public(mapped) == is_public(translated) == is_public(ip)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_public(ip: IPv4Address | IPv6Address) -> None:
    assert not (is_public(ip) and (ip.is_loopback or ip.is_link_local or ip.is_multicast or (ip.is_private and meant(ip) == ip)))


def test_a_private_network_is_opened_by_name_and_only_for_listed_hosts() -> None:
    allowed = listed("http://images.plant/", "10.20.0.0/16 fd12::/48")
    assert [reaches(allowed, "images.plant", ip) for ip in ("10.20.1.1", "::ffff:10.20.1.1", "fd12::5")] == [True] * 3
    assert [reaches(allowed, "images.plant", ip) for ip in ("10.21.0.1", "127.0.0.1", "169.254.169.254")] == [False] * 3
    assert not opens(allowed, "http://10.20.1.1/a")


def test_an_address_that_is_listed_itself_is_meant_so() -> None:
    allowed = listed("http://10.0.0.5:8000/")
    assert reaches(allowed, "10.0.0.5", "10.0.0.5", 8000)
    assert not reaches(allowed, "images.example", "10.0.0.5", 8000)
    assert not reaches(allowed, "10.0.0.5", "127.0.0.1", 8000)


def test_label_studio_may_lie_anywhere_but_its_neighbours_ports_stay_closed() -> None:
    allowed = listed(label_studio_url="http://studio:8080")
    assert reaches(allowed, "studio", "172.18.0.3", 8080)
    assert not reaches(allowed, "studio", "172.18.0.3", 6379)


def test_networks_are_read() -> None:
    assert [str(network) for network in read_networks("10.0.0.0/8\n fd12::/48")] == ["10.0.0.0/8", "fd12::/48"]
