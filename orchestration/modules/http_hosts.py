"""Where the module ``http_client`` may connect to: decided by the address that is really connected to.

A name is looked up once and the connection goes to the address that was checked, so that neither a redirect nor a name
server that changes its mind leads code into the network of its workers.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import httpcore

__all__ = ["Backend", "Deadline", "HostRules", "RefusedHostError"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")
_AZURE: Final = ipaddress.ip_address("168.63.129.16")
"""A public address that is none: Azure's machines reach its platform there."""
_TRANSLATED: Final = ipaddress.ip_network("64:ff9b::/96")


class RefusedHostError(Exception):
    """This host is none that code may reach."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the Internet: not of this machine, of its networks, of a cloud's metadata."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    if address == _AZURE or address in _SHARED:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


@dataclass(frozen=True, slots=True)
class HostRules:
    """What ``orchestration_http_allow`` says.

    Attributes:
        public: Hosts with public addresses may be reached.
        everything: All may.
        names: Names of others that may, with ``*`` for anything.
        networks: Networks that may.
    """

    public: bool = False
    everything: bool = False
    names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = field(default=())

    @classmethod
    def read(cls, text: str) -> HostRules:
        """Read the setting: ``public``, ``any``, names and networks, separated by commas."""
        parts = [part.strip().lower() for part in text.split(",") if part.strip()]
        names: list[str] = []
        networks: list[Network] = []
        for part in parts:
            try:
                networks.append(ipaddress.ip_network(part, strict=False))
            except ValueError:
                if part not in ("public", "any"):
                    names.append(part)
        return cls("public" in parts, "any" in parts, tuple(names), tuple(networks))

    def allows(self, host: str, address: Address) -> bool:
        """Whether code may connect to an address that a host has."""
        if self.everything or any(fnmatch.fnmatchcase(host.lower().rstrip("."), name) for name in self.names):
            return True
        if any(address.version == network.version and address in network for network in self.networks):
            return True
        return self.public and is_public(address)


class Deadline(threading.local):
    """When the request of this thread must be over."""

    at: float = float("inf")

    def left(self, timeout: float | None) -> float:
        """The time that is left of it, at most the timeout.

        Raises:
            httpcore.ReadTimeout: None is left.
        """
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the whole request took too long")
        return left if timeout is None else min(left, timeout)


class _Stream(httpcore.NetworkStream):
    """A stream that keeps to the deadline, however slowly the other side drips."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come."""
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it."""
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        """End the connection."""
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on encrypted."""
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What is known of the connection."""
        return self._inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    """Connects to addresses that the rules allow.

    Args:
        rules: Which.
        deadline: Of each thread's request.
    """

    def __init__(self, rules: HostRules, deadline: Deadline) -> None:
        self._rules = rules
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that is allowed and answers.

        Raises:
            RefusedHostError: None is allowed.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host}: {error}") from error
        addresses = list(dict.fromkeys(str(place[4][0]) for place in found))
        allowed = [text for text in addresses if self._rules.allows(host, ipaddress.ip_address(text.partition("%")[0]))]
        if not allowed:
            raise RefusedHostError(host)
        problem: Exception | None = None
        for address in allowed:
            try:
                inner = self._inner.connect_tcp(
                    address, port, self._deadline.left(timeout), local_address, socket_options
                )
            except httpcore.ConnectError as error:
                problem = error
                continue
            return _Stream(inner, self._deadline)
        assert problem is not None
        raise problem

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Refuse: a socket of this machine."""
        raise RefusedHostError(path)
