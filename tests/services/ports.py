"""Ports of 127.0.0.1 for the services that tests start.

Invariant: a port that is given out here is never one that the kernel gives to an outgoing connection.
"""

import random
import socket

from engine.errors import ServiceUnreachable

# Below the ports that the kernel hands to outgoing connections, so that nobody takes a dead broker's port meanwhile.
PORTS = range(20_000, 32_000)


def free_ports(count: int) -> tuple[int, ...]:
    """Returns ports of 127.0.0.1 on which nobody listens."""
    taken: list[socket.socket] = []
    try:
        while len(taken) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.choice(PORTS)))
                taken.append(one)
            except OSError:
                one.close()
        return tuple(one.getsockname()[1] for one in taken)
    finally:
        for one in taken:
            one.close()


def refuse_taken(port: int) -> None:
    """Raises ServiceUnreachable when somebody listens on `port`: else we would take a stranger's service for ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a dead broker are not listeners
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServiceUnreachable(
                f"Port {port} of 127.0.0.1 is taken.", mend="End who listens there, or take another port."
            ) from error
