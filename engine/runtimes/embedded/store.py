"""The SQLite file: lock, connection, pragmas, migrations, transactions, checkpoints.

Invariant: one process at a time writes the log (`anlass.lock`), and a transaction is either committed whole or not there;
errors of the disk leave as `StorageFull`, `StorageBusy` or `StorageError`.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import StorageBusy, StorageError, StorageFull
from engine.runtimes.embedded import consents, keys
from engine.runtimes.embedded.asides import Asides
from engine.runtimes.embedded.statements import MIGRATIONS
from engine.telemetry import Action, get_log

FILE = "anlass.db"
LOCK = "anlass.lock"
BUSY_TIMEOUT_SECONDS = 5.0
CHECKPOINT_INTERVAL_SECONDS = 1.0
WAL_PAGES_MAX = 16_384
"""64 MiB: from here on the writer finishes the checkpoint itself, so that the WAL starts again from its beginning."""
_log = get_log("store")


class EmbeddedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the embedded runtime works. Days of 0 keep for ever."""

    synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    """NORMAL survives the end of the process, FULL also that of the machine's power."""
    batch_records_max: int = 200
    append_records_max: int = 5_000
    backlog_max: int = 20_000
    keep_unconcerned: bool = True
    """Whether records that no definition asks about are kept on the log."""
    log_days: int = 90
    journal_days: int = 0
    inbox_poll_seconds: float = 0.2
    tidy_interval_seconds: float = 60.0
    accept_loss: bool = False
    """Whether to start though the key, or the database, of a project that has run is gone."""
    timers: bool = True
    """Whether what is due fires."""
    hold: bool = False
    """What is there is a copy: nothing of it leaves, and no timer fires, until it is let go."""


class Store:
    """One open database. `connection` is the class of connection to use (tests pass one that fails on purpose)."""

    def __init__(
        self,
        var: Path,
        *,
        options: EmbeddedOptions | None = None,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self.path = var / FILE
        self._var = var
        self._options = options or EmbeddedOptions()
        self._factory = connection
        self._lock_file: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._checkpoints: _Checkpoints | None = None
        self._key = b""
        self.asides = Asides()
        self.on_forget: Callable[[str], None] = lambda _customer: None
        """Called with the id of a customer who is erased, before the erasure counts as finished; may be called again. Raises
        StorageError when it has to be tried later."""
        self.wal_tries = 0
        """How often it is still to be tried to empty the write-ahead log: it holds what was erased."""

    @property
    def connection(self) -> sqlite3.Connection:
        """The one that writes. Only between `open` and `close`."""
        assert self._connection is not None, "the store is not open"
        return self._connection

    def open(self) -> None:
        """Takes the lock, opens, migrates. Raises StorageBusy when another process has it, StorageError when it is damaged."""
        try:
            self._var.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{self._var} cannot be created: {error.strerror}.", mend="Choose a folder you may write to."
            ) from error
        self._lock_file = _take_lock(self._var / LOCK)
        try:
            keys.check_store(self._var, self.path, accept_loss=self._options.accept_loss)
            with translated():
                self._connection = connect(self.path, factory=self._factory)
                self._connection.execute(f"PRAGMA synchronous = {self._options.synchronous}")
                migrate(self._connection)
                self._key = keys.take_key(self._connection, self._var, accept_loss=self._options.accept_loss)
                self.asides.read(self._connection)
                self._complete_ledger(self._connection)
        except BaseException:
            self.close()
            raise
        self._checkpoints = _Checkpoints(self.path)
        self._checkpoints.start()

    def _complete_ledger(self, connection: sqlite3.Connection) -> None:
        """What earlier versions kept of consent is chained and filled in, at the first start of this one."""
        if consents.is_complete(connection):
            return
        with self.transaction():
            filled = consents.complete(connection, self.keyed_hash)
        if filled:
            _log.info(Action.LEDGER_FILLED, records=filled)

    def close(self) -> None:
        """Closes and gives the lock back. Idempotent."""
        if self._checkpoints is not None:
            self._checkpoints.stop()
            self._checkpoints = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Takes the write lock at once, so that nothing inside can find the database busy."""
        connection = self.connection
        with translated():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have rolled back already
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise
        if self._checkpoints is not None and self._checkpoints.pages > WAL_PAGES_MAX:
            self._checkpoints.pages = 0
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def empty_wal(self) -> bool:
        """Moves everything into the database and empties the write-ahead log; False while somebody reads from it."""
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            busy: int = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            return False
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1_000)}")
        return not busy

    def keyed_hash(self, text: str) -> bytes:
        """HMAC-SHA-256 of `text` with the project's key: recognises it again without keeping it."""
        return keys.keyed_hash(self._key, text)


def connect(
    path: Path, *, factory: type[sqlite3.Connection] = sqlite3.Connection, read_only: bool = False
) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are begun by name or not at all."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, cached_statements=256, factory=factory
    )
    if not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the schema up to date, each migration in a transaction of its own."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StorageError(
            f"The database was written by a newer version of Anlass (schema {version}, this one knows {len(MIGRATIONS)}).",
            mend="Install that version, or restore a backup.",
        )
    for number, script in MIGRATIONS[version:]:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def _take_lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(handle, 20).decode(errors="replace").strip()
        os.close(handle)
        who = f"another process (pid {owner})" if owner else "another process"
        raise StorageBusy(
            f"{path.parent} is in use by {who}.", mend="Stop that one first, or choose another project folder."
        ) from error
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def is_running(var: Path) -> bool:
    """Whether a process has this store open right now."""
    try:
        handle = os.open(var / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StorageFull(
                "The store cannot write: no room on the disk, or the disk fails.",
                mend="Make room; nothing was half written.",
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageBusy("The database is held by another process.", mend="Close whatever has it open.") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StorageError("The database is damaged.", mend="Restore it from a backup.") from error
        raise StorageError(f"The store failed: {error}.") from error


class _Checkpoints(threading.Thread):
    """Moves the WAL into the database beside the writer: in the writer's way it would cost its p99 (measured 3-5 times)."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="anlass-checkpoints", daemon=True)
        self._path = path
        self._stopped = threading.Event()
        self.pages = 0
        """Pages in the WAL at the last look."""

    def run(self) -> None:
        connection = connect(self._path)
        try:
            while not self._stopped.wait(CHECKPOINT_INTERVAL_SECONDS):
                with contextlib.suppress(sqlite3.Error):  # a full disk: the next round tries again
                    _, self.pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            connection.close()

    def stop(self) -> None:
        """Returns when the thread has ended."""
        self._stopped.set()
        self.join()
