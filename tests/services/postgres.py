"""A real PostgreSQL server for the tests: the machine's own binaries, else Debian's packages, unpacked into `.cache/postgres/`.

    with shared(folder) as server:
        url = create_database(server)

A process of its own holds the server for all who name the same folder, as `kafka_holder` does for Kafka: each user holds a
shared lock on a file, and when the holder gets that lock for itself, nobody is left. PostgreSQL refuses to run as root: then
the server runs as `nobody`, in a folder that is nobody's.

Invariant: no server outlives its holder, and no holder its last user. The data is thrown away, so it is never synced to disk.
"""

import ctypes
import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg

from engine.errors import AnlassError, ServiceUnreachable
from tests.services.debian import missing_packages, unpack
from tests.services.kafka import free_ports
from tests.services.kafka_jars import HERE, locked

CACHE = HERE.parent.parent / ".cache" / "postgres"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20
POLL_SECONDS = 0.2
NOBODY = "nobody"
MEND = "Install PostgreSQL (Debian and Ubuntu: apt install postgresql)."

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "jit": "off",
    "timezone": "GMT",
    "log_timezone": "GMT",
    "max_connections": "60",
    "shared_buffers": "64MB",
}

_holders: list[subprocess.Popen[bytes]] = []


# --------------------------------------------------------------------------------------------------------- binaries


def binaries() -> Path:
    """Returns the folder with `initdb` and `postgres`: the newest that the machine has, else unpacked packages.

    Raises:
        ServiceUnreachable: there are none, and they cannot be had.
    """
    found = _newest(Path("/")) or _newest(CACHE / "root")
    if found is None and (initdb := shutil.which("initdb")):
        found = Path(initdb).resolve().parent  # where other systems have it
    if found is not None:
        return found
    with locked(CACHE / "lock"):
        if not _newest(CACHE / "root"):
            unpack(missing_packages("postgresql", cache=CACHE, mend=MEND), CACHE / "root", mend=MEND)
    found = _newest(CACHE / "root")
    if found is None:
        raise ServiceUnreachable("PostgreSQL's packages hold no server.", mend=MEND)
    return found


def _newest(root: Path) -> Path | None:
    folders = [path.parent for path in root.glob("usr/lib/postgresql/*/bin/initdb")]
    folders = [folder for folder in folders if (folder / "postgres").exists()]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


# ----------------------------------------------------------------------------------------------------------- server


class Server:
    """One server with its data in a folder of its own, which goes with it."""

    def __init__(self) -> None:
        self._binaries = binaries()
        self._user = pwd.getpwnam(NOBODY) if os.getuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="anlass-postgres-"))  # not below pytest's, which nobody may enter
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """What a database's name is added to."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Makes the data folder, starts, waits for an answer.

        Raises:
            ServiceUnreachable: it did not start.
        """
        data = self._folder / "data"
        self._run(str(self._binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", *INITDB)
        (self.port,) = free_ports(1)
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._binaries / "postgres"), "-D", str(data), "-p", str(self.port), "-k", str(self._folder)]
        with (self._folder / "server.log").open("ab") as out:
            self._process = subprocess.Popen(
                [*command, *settings],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                env=self._environment(),
                preexec_fn=self._leash,  # noqa: PLW1509 - the holder has one thread
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _answers(self.address):
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = (self._folder / "server.log").read_text(errors="replace")[-600:]
                raise ServiceUnreachable(f"PostgreSQL did not start: {words}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the server at once and removes its data."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, *command: str) -> None:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
            env=self._environment(),
            preexec_fn=self._leash,
        )
        if run.returncode != 0:
            raise ServiceUnreachable(f"PostgreSQL could not make its data: {(run.stdout + run.stderr)[-600:]}")

    def _environment(self) -> dict[str, str]:
        root = self._binaries.parents[4]  # of unpacked packages; / for the machine's own
        libraries = (
            [str(path.parent) for path in sorted(root.glob("usr/lib/*/libpq.so.5"))] if root != Path("/") else []
        )
        return {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C",
            **({"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}),
        }

    def _leash(self) -> None:
        """In the child: becomes nobody if we are root, and ends with the holder. A change of user would forget the leash."""
        os.setsid()
        if self._user is not None:
            os.setgroups([])
            os.setgid(self._user.pw_gid)
            os.setuid(self._user.pw_uid)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, int(signal.SIGQUIT))


INITDB = ("--no-sync", "--locale=C", "-E", "UTF8")


def _answers(address: str) -> bool:
    try:
        psycopg.connect(f"{address}postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def create_database(address: str) -> str:
    """Creates an empty database with a name that no other has; returns its URL."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{address}postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{address}{name}"


def drop_database(address: str, url: str) -> None:
    """Removes it, whoever is connected."""
    with psycopg.connect(f"{address}postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


# ----------------------------------------------------------------------------------------------------------- sharing


@contextmanager
def shared(folder: Path) -> Iterator[str]:
    """Yields the address of the server that all who name `folder` share.

    Raises:
        ServiceUnreachable: PostgreSQL cannot be had, or did not start.
    """
    binaries()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("a") as users:
        with locked(folder / "join.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while a holder that saw nobody is still stopping
            address = _join(folder)
        yield address


def hold(folder: Path) -> None:
    """Runs the server of `folder` until nobody uses it; this is the holder's whole life."""
    with (folder / "holder").open("a") as alive, (folder / "users").open("a") as users:
        fcntl.flock(alive, fcntl.LOCK_EX)
        try:
            server = Server()
            try:
                server.start()
                _tell(folder, {"address": server.address})
                while not _lock_now(users):
                    time.sleep(POLL_SECONDS)
                (folder / "told.json").unlink()
            finally:
                server.stop()
        except AnlassError as error:
            _tell(folder, {"error": str(error)})


def _join(folder: Path) -> str:
    told = folder / "told.json"
    with (folder / "holder").open("a") as alive:
        held = not _lock_now(alive)
    if not held:
        told.unlink(missing_ok=True)
        with (folder / "holder.out").open("ab") as out:
            holder = subprocess.Popen(
                [sys.executable, "-m", "tests.services.postgres", str(folder)],
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
        raise ServiceUnreachable(f"The shared PostgreSQL server did not start: {words}")
    answer: dict[str, str] = json.loads(told.read_text())
    if "error" in answer:
        raise ServiceUnreachable(answer["error"])
    return answer["address"]


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


if __name__ == "__main__":
    hold(Path(sys.argv[1]))
