"""Live TCP byte counts of this machine's connections, as the Linux kernel counts them.

Toxiproxy adds to its own counters only when a connection ends, so evidence about one that
is still open has to come from the kernel: netlink's ``sock_diag``, which needs no privilege.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST_DUMP = 0x301
_NETLINK_SOCK_DIAG = 4
_INET_DIAG_INFO = 2
_TCP_ESTABLISHED = 1

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
# Family, state, timer, retransmits; ports in network order; the rest is not needed.
_SOCKET_START = struct.Struct("=BBBB")
_PORTS = struct.Struct("!HH")
_SOCKET_SIZE = 72
_ATTRIBUTE = struct.Struct("=HH")
# Of struct tcp_info (linux/tcp.h): tcpi_bytes_acked, tcpi_bytes_received.
_BYTES = struct.Struct("=QQ")
_BYTES_AT = 120
_ANSWER_S = 2.0


class Connection(NamedTuple):
    """One established IPv4 connection, from the side that accepted it."""

    peer_port: int
    local_port: int
    received_bytes: int
    sent_bytes: int
    """Bytes that the peer's kernel has acknowledged."""


def connections(local_port: int) -> list[Connection]:
    """List the established IPv4 connections of this machine's ``local_port``.

    Raises OSError where there is no ``sock_diag`` (another system, a sandbox).
    """
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(_ANSWER_S)
        request = _REQUEST.pack(
            socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, 1 << _TCP_ESTABLISHED
        )
        size = _HEADER.size + len(request)
        link.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
        every = [_connection(payload) for payload in _messages(link)]
    return [found for found in every if found.local_port == local_port]


def _messages(link: socket.socket) -> Iterator[bytes]:
    """The payloads of a dump, until its end. Raises OSError when the kernel refuses."""
    while True:
        chunk = link.recv(1 << 16)
        offset = 0
        while offset < len(chunk):
            length, kind, _, _, _ = _HEADER.unpack_from(chunk, offset)
            payload = chunk[offset + _HEADER.size : offset + length]
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                raise OSError(code, os.strerror(code))
            yield payload
            offset += (length + 3) & ~3


def _connection(payload: bytes) -> Connection:
    local_port, peer_port = _PORTS.unpack_from(payload, _SOCKET_START.size)
    sent = received = 0
    offset = _SOCKET_SIZE
    while offset + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if kind == _INET_DIAG_INFO and length >= _ATTRIBUTE.size + _BYTES_AT + _BYTES.size:
            sent, received = _BYTES.unpack_from(payload, offset + _ATTRIBUTE.size + _BYTES_AT)
        offset += max((length + 3) & ~3, _ATTRIBUTE.size)
    return Connection(peer_port, local_port, received, sent)
