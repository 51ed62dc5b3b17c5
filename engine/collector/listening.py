"""Sockets that listen where the settings say.

Invariant: a port that is taken is said with its mend, before anything else is started.
"""

from __future__ import annotations

import errno
import os
import socket

from engine.errors import SettingsError

BACKLOG_CONNECTIONS = 512


def bind(host: str, port: int, *, what: str, setting: str) -> socket.socket:
    """A socket that listens; its queue holds requests until somebody serves. `setting` is the section's variable prefix.

    Raises SettingsError.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot(host, port, error, what=what, setting=setting) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # Only listening finds out that another process listens there: with SO_REUSEADDR two may bind.
        sock.listen(BACKLOG_CONNECTIONS)
    except OSError as error:
        sock.close()
        raise _cannot(host, port, error, what=what, setting=setting) from error
    sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
    return sock


def url_of(sock: socket.socket) -> str:
    """How this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - how to reach it, not where to bind
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cannot(host: str, port: int, error: OSError, *, what: str, setting: str) -> SettingsError:
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"Another program listens on {host}:{port} already.",
            mend=f"Stop it, or choose another port with {setting}PORT.",
        )
    return SettingsError(
        f"The {what} cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.",
        mend=f"Choose another address with {setting}HOST and {setting}PORT.",
    )
