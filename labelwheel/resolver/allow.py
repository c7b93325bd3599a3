"""Who may be asked for an image. Pure, and closed by default: Label Studio's own address, and what two settings open.

`LABELWHEEL_IMAGE_SOURCES` says what an address may begin with. `LABELWHEEL_IMAGE_NETWORKS` says in which private networks
those hosts may lie. Names are judged before they are looked up, addresses at the moment of connecting.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import httpx

from labelwheel.errors import AddressRefused, SettingsError
from labelwheel.resolver.address import BUCKET_SCHEMES, has_dots, read_url, shown

if TYPE_CHECKING:
    from labelwheel.settings import Settings

IP = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = {"http": 80, "https": 443}
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Called global by some releases of Python, yet leading to a neighbour: protocol assignments (a cloud's metadata lies there), 6to4 and its
# relays, Teredo, and the address at which Azure talks to its machines.
NOT_PUBLIC = tuple(
    ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "2001::/23", "2002::/16", "3fff::/20")
)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
CURE = "If its images may be fetched, add the beginning of the address to LABELWHEEL_IMAGE_SOURCES."
CURE_NETWORK = "If it is meant to be there, add its network to LABELWHEEL_IMAGE_NETWORKS."


@dataclass(frozen=True, slots=True)
class Source:
    """What an allowed address begins with. `own` marks Label Studio, which may lie in any network."""

    scheme: str
    host: str
    port: int | None
    path: str
    own: bool = False

    def covers(self, scheme: str, host: str, port: int | None, path: str) -> bool:
        """Whether an address lies at or below this one; folders end at a slash, so that `/line-1` does not open `/line-10`."""
        folder = self.path.rstrip("/") + "/"
        return (scheme, host, port) == (self.scheme, self.host, self.port) and (path == self.path or path.startswith(folder))


@dataclass(frozen=True, slots=True)
class AllowList:
    """The sources and private networks that are open."""

    sources: tuple[Source, ...]
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> AllowList:
        try:
            own = tuple(read_source(url, own=True) for url in {settings.label_studio_url, settings.label_studio_public_url} if url)
        except ValueError as error:
            raise SettingsError(f"Label Studio's address cannot be used: {error}.", "Correct LABELWHEEL_LABEL_STUDIO_URL.") from error
        return cls((*own, *read_sources(settings.image_sources)), read_networks(settings.image_networks))

    def check_url(self, url: httpx.URL) -> Source:
        """The source that opens this address; AddressRefused when none does."""
        return self._opened(str(url), url.scheme, url.host, url.port or PORTS[url.scheme], url.path)

    def check_object(self, uri: str) -> Source:
        """The source that opens this object in a bucket; AddressRefused when none does."""
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        return self._opened(uri, scheme, bucket, None, f"/{key}")

    def check_ip(self, host: str, port: int, ip: IP) -> None:
        """Refuse an address that the name led to, unless it is public, in an open network, or itself what the list names."""
        if not (is_public(ip) or self._names(host, port, ip) or any(meant(ip) in network for network in self.networks)):
            raise AddressRefused(f"{host} leads to {ip}, which is not a public address.", CURE_NETWORK)

    def _names(self, host: str, port: int, ip: IP) -> bool:
        own = any(source.own and (source.host, source.port) == (host, port) for source in self.sources)
        return own or (host == str(ip) and any(source.host == host for source in self.sources))

    def _opened(self, text: str, scheme: str, host: str, port: int | None, path: str) -> Source:
        for source in self.sources:
            if source.covers(scheme, host, port, path):
                return source
        raise AddressRefused(f"Nobody allowed to fetch images from {shown(text)!r}.", CURE)


def read_sources(text: str) -> tuple[Source, ...]:
    """Sources separated by blanks; ValueError naming the one that cannot be read."""
    return tuple(read_source(entry) for entry in text.split())


def read_source(text: str, *, own: bool = False) -> Source:
    """One source: scheme, host, port and folder of an http(s) address, or the bucket and folder of an s3, gs or az one."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in BUCKET_SCHEMES:
        bucket, _, folder = rest.partition("/")
        if not bucket or set(bucket) & set("@*?") or has_dots(folder):
            raise ValueError(f"{text!r} names no bucket, such as s3://bucket/folder/")
        return Source(BUCKET_SCHEMES[scheme.lower()], bucket, None, f"/{folder}")
    try:
        url = read_url(text)
    except AddressRefused as error:
        raise ValueError(f"{text!r} is no address that images can begin with, such as https://images.example/line-1/") from error
    if url.query:
        raise ValueError(f"{text!r} has a query; an entry is the beginning of an address: scheme, host and folder")
    return Source(url.scheme, url.host, url.port or PORTS[url.scheme], url.path or "/", own)


def read_networks(text: str) -> tuple[Network, ...]:
    """Networks separated by blanks, such as 10.20.0.0/16; ValueError naming the one that cannot be read."""
    return tuple(ipaddress.ip_network(entry) for entry in text.split())


def is_public(ip: IP) -> bool:
    """Whether an address is on the public internet, it and whatever IPv4 address it carries inside."""
    inner = meant(ip)
    if isinstance(inner, IPv6Address) and inner not in GLOBAL_UNICAST:
        return False
    return inner.is_global and not (inner.is_multicast or inner.is_reserved) and not any(inner in network for network in NOT_PUBLIC)


def meant(ip: IP) -> IP:
    """The IPv4 address that an IPv6 one stands for: mapped (`::ffff:127.0.0.1`), or translated by a NAT64; else itself."""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        return ip.ipv4_mapped
    return IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else ip
