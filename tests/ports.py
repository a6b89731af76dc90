"""Ports for programs that have to be told one before they start."""

from __future__ import annotations

import secrets
import socket

LOWEST, HIGHEST = 20_000, 32_000
"""Below the range from which systems take the ports of connections and of servers that ask for any."""
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 at which nothing listens, and that the system gives to nobody meanwhile.

    A port that the system chose, closed again, may be another test's before the program that it is for has started.
    """
    while True:
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
