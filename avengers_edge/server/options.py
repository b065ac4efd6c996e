"""The operator's options: address, access, limits."""

from __future__ import annotations

import dataclasses
import ipaddress
import math

from avengers_edge.errors import BadRequest

_LEAST_KEY = 16
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How much the server takes on.

    `width` requests are answered beside each other, in one batch per model, and up to `queue` more wait; the next one
    is refused. A request may take `seconds` in all, its body `body` bytes and `body_seconds` to come in, nested up to
    `depth`, its headers `header_bytes`; a connection without a further request is closed after `idle_seconds`, and on
    Linux one whose client reads nothing for `send_seconds`. `samples` are the most choices or samples of one request,
    `tokens` the most that one of them may be allowed. `drain` seconds are left to what is under way at a shutdown.
    """

    width: int = 32
    queue: int = 64
    seconds: float = 600.0
    body: int = 4 * 2**20
    body_seconds: float = 30.0
    depth: int = 32
    header_bytes: int = 32 * 1024
    idle_seconds: float = 10.0
    send_seconds: float = 60.0
    samples: int = 128
    tokens: int = 8192
    texts: int = 2048
    connections: int = 1024
    drain: float = 30.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            least = 0 if field.name in ("queue", "drain") else 0.001 if field.type == "float" else 1
            if not least <= getattr(self, field.name) < math.inf:  # neither holds of nan
                raise BadRequest(f"{field.name} is {getattr(self, field.name)}: use {least} or more")


@dataclasses.dataclass(frozen=True, slots=True)
class ServeOptions:
    """Address and access; an address that others can reach needs a key.

    `hosts` are names that a Host header may carry besides those of this machine, `origins` the pages
    (`https://example.org`) that browsers may call it from. `strict` refuses fields that are unknown, instead of naming
    them in the answer. `token` opens the paths of the user's own command line.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    api_key: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    certificate: str | None = None
    private_key: str | None = None
    log_prompts: bool = False
    strict: bool = False
    token: str | None = None
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", self.host.removeprefix("[").removesuffix("]"))  # as in a URL
        if not 0 <= self.port <= 65535:
            raise BadRequest(f"port is {self.port}: use 0 (any free one) to 65535")
        if not self.host:
            raise BadRequest("host is empty: use 127.0.0.1")
        if self.api_key is not None and (len(self.api_key) < _LEAST_KEY or not self.api_key.isascii()):
            raise BadRequest(
                f"the API key has fewer than {_LEAST_KEY} ASCII characters: choose one that nobody guesses"
            )
        if not self.loopback and self.api_key is None:
            raise BadRequest(
                f"{self.host} can be reached from other machines: give --api-key-file or AVENGERS_API_KEY, "
                "or stay on 127.0.0.1"
            )
        if (self.certificate is None) != (self.private_key is None):
            raise BadRequest("TLS needs a certificate and its key: give both --tls-cert and --tls-key")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise BadRequest(f"origin {origin!r} is not one: write scheme and host only, like https://example.org")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        address = address_of(self.host)
        return self.host == "localhost" or (address is not None and address.is_loopback)

    @property
    def wildcard(self) -> bool:
        """Whether it listens on all addresses of this machine."""
        address = address_of(self.host)
        return address is not None and address.is_unspecified


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read a host as an address; None for a name, which can mean any."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
