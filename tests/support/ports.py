"""Ports for the servers of tests.

A port that the machine chooses may be chosen again, or be given to a connection, before its server
listens on it: servers take seconds to start, and tests run side by side. These ports lie below
those that machines give to connections, no process asks for one twice, and each begins elsewhere.
"""

import os
import socket
from itertools import count

HOST = "127.0.0.1"
FIRST, LAST = 10_240, 32_768
"""The ports of Linux's connections begin at 32,768."""
STRIDE = 997
"""How far apart processes begin that were started one after another."""

_turns = count()


def free_port() -> int:
    """Return a loopback port on which nothing listens, another with every call."""
    for _ in range(LAST - FIRST):
        port = FIRST + (os.getpid() * STRIDE + next(_turns)) % (LAST - FIRST)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")
