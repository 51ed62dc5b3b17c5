"""One Kafka broker for all processes of a test run: the first to ask starts it, and it ends after the last has left.

A process of its own holds the broker. Each user holds a shared lock on a file; when the holder gets that lock for
itself, nobody is left, and it stops. The kernel frees the lock of a user that dies, so there is no count to go wrong.

Invariant: while somebody is inside `shared`, the broker stays; when nobody is, it is gone within seconds.
"""

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from engine.errors import AnlassError, ServiceUnreachable
from tests.services.kafka import START_SECONDS_MAX, Cluster
from tests.services.kafka_jars import HERE, jars, java, locked

POLL_SECONDS = 0.3

# A holder outlives whoever started it; a reference keeps Python from complaining about a forgotten process.
_holders: list[subprocess.Popen[bytes]] = []


@contextmanager
def shared(folder: Path) -> Iterator[str]:
    """Yields the bootstrap address of the broker that all who name `folder` share.

    Raises:
        ServiceUnreachable: Java or Kafka cannot be had, or the broker did not start.
    """
    java()
    jars()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("a") as users:
        with locked(folder / "join.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while a holder that saw nobody is still stopping
            bootstrap = _join(folder)
        yield bootstrap


def hold(folder: Path) -> None:
    """Runs the broker of `folder` until nobody uses it; this is the holder's whole life."""
    with (folder / "holder").open("a") as alive, (folder / "users").open("a") as users:
        fcntl.flock(alive, fcntl.LOCK_EX)
        try:
            with Cluster(folder=folder / "kafka") as cluster:
                _tell(folder, {"bootstrap": cluster.bootstrap})
                while not _lock_now(users):
                    time.sleep(POLL_SECONDS)
                (folder / "told.json").unlink()
                cluster.stop(graceful=False)  # nobody will read these records
        except AnlassError as error:
            _tell(folder, {"error": str(error)})


def _join(folder: Path) -> str:
    told = folder / "told.json"
    if not _is_held(folder):
        told.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.services", "hold", str(folder)]
        # A session of its own: Ctrl-C ends the tests, and their end ends the holder.
        with (folder / "holder.out").open("ab") as out:
            holder = subprocess.Popen(
                command,
                cwd=HERE.parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        _holders.append(holder)
        deadline = time.monotonic() + START_SECONDS_MAX + 10
        while not told.exists() and holder.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    if not told.exists():
        words = (folder / "holder.out").read_text(errors="replace")[-600:]
        raise ServiceUnreachable(f"The shared Kafka broker did not start: {words}")
    answer: dict[str, str] = json.loads(told.read_text())
    if "error" in answer:
        raise ServiceUnreachable(answer["error"])
    return answer["bootstrap"]


def _is_held(folder: Path) -> bool:
    with (folder / "holder").open("a") as alive:
        return not _lock_now(alive)


def _lock_now(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tell(folder: Path, what: dict[str, str]) -> None:
    fresh = folder / "told.new"
    fresh.write_text(json.dumps(what))
    fresh.replace(folder / "told.json")
