"""What every role on Kafka needs of settings and project: topics that are there, secrets that all share, a folder of its own.

Invariant: a role starts only on topics that hold what it needs; what is missing is said with its mend before anything is read.
"""

from __future__ import annotations

import asyncio
import fcntl
import hmac
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.core.catalog import Catalog
from engine.core.journey.workflow import Workflow
from engine.definition.load import load_files
from engine.definition.phone_numbers import with_phone_numbers
from engine.definition.public_holidays import with_public_holidays
from engine.errors import DefinitionError, SettingsError, StorageError
from engine.runtimes.kafka import admin
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.holders import Announcement
from engine.runtimes.kafka.operating import suppression
from engine.runtimes.kafka.topics import Definition, Topics
from engine.settings import Settings

SLOTS_MAX = 64
HEARTBEATS = 5
"""That may be missed before a member is taken for dead."""
CHANGELOG_ROLES = ("worker", "dispatcher")
WORKFLOWS = "workflows/"


class Cluster:
    """The cluster of a project, looked at but not joined."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError when no cluster is named."""
        if not settings.kafka.configured:
            raise SettingsError(
                "This needs Kafka, but no cluster is set.",
                mend="Set ANLASS_KAFKA=host:port, or use `anlass run`, which needs none.",
            )
        self.settings = settings
        self.bootstrap = settings.kafka.bootstrap
        self.topics = Topics(settings.kafka.prefix)
        self.partitions = 0
        self._hash_secret = settings.hash_secret()

    @property
    def project(self) -> str:
        """What definitions stand under: the topics' prefix says which project it is."""
        return self.settings.kafka.prefix.rstrip(".") or "anlass"

    def prepare(
        self, *, role: str = "", wait_seconds: float = 0.0, accept_loss: bool = False, say: Callable[[str], None]
    ) -> None:
        """Makes topics that are missing and checks those that are there. A changelog that was lost stops the `role` that it
        belongs to ("": either). Raises ServiceUnreachable, SettingsError.
        """
        admin.wait_for_kafka(self.bootstrap, wait_seconds=wait_seconds, say=say)
        if not accept_loss:
            admin.check_suppressions(self.bootstrap, self.topics)
        kafka = self.settings.kafka
        replication = kafka.replication or min(3, admin.brokers(self.bootstrap))
        made = admin.ensure_topics(
            self.bootstrap,
            self.topics,
            partitions=kafka.partitions,
            replication=replication,
            retention_days=self.settings.database.log_days or 36_500,
        )
        if made:
            say(f"Made {len(made)} topics with {kafka.partitions} partitions and {replication} copies.")
        self.partitions = admin.check_topics(
            self.bootstrap, self.topics, roles=(role,) if role else CHANGELOG_ROLES, accept_loss=accept_loss
        )
        if role in CHANGELOG_ROLES:
            fingerprint = hmac.digest(self._hash_secret, b"fingerprint of the secret", "sha256").hex()[:16]
            asyncio.run(suppression.check_secret(self.bootstrap, self.topics, fingerprint, accept_loss=accept_loss))

    def definitions(self) -> Definitions:
        """Follows what is deployed; not started."""
        return Definitions(self.bootstrap, self.topics, project=self.project, compile_=compile_definition)

    def announcement(self, role: str) -> Announcement:
        """Says which definitions a process holds; not started."""
        return Announcement(self.bootstrap, self.topics, role=role)

    def alias(self, customer: str) -> str:
        """What stands in for the id of a customer who was forgotten: the same on every machine with the same secret."""
        return f"erased:{hmac.digest(self._hash_secret, f'customer:{customer}'.encode(), 'sha256').hex()[:16]}"

    def address_key(self, channel: str, address: str) -> bytes:
        """What an address, as `engine.core.consent.suppression.names` writes it, is known by when nothing may be sent to it."""
        return hmac.digest(self._hash_secret, f"{channel}:{address}".encode("utf-8", "surrogatepass"), "sha256")

    def membership(self, folder: Path) -> dict[str, Any]:
        """What `Membership` takes, for a process that has this folder."""
        kafka = self.settings.kafka
        return {
            "bootstrap": self.bootstrap,
            "topics": self.topics,
            "partitions": self.partitions,
            "folder": folder,
            "standbys": kafka.standbys,
            "session_timeout_seconds": kafka.session_timeout_seconds,
            "heartbeat_seconds": kafka.session_timeout_seconds / HEARTBEATS,
            "instance": kafka.instance,
        }

    def folder(self, role: str) -> InstanceFolder:
        """A folder for this process alone: the first that no other uses, so that a restart finds its rows again."""
        return InstanceFolder(self.settings.kafka_folder / role)


class InstanceFolder:
    """A numbered folder with a lock, until `release`."""

    def __init__(self, root: Path) -> None:
        """Raises StorageError when there is none to be had."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            for number in range(SLOTS_MAX):
                lock = (root / f"{number}.lock").open("w", encoding="ascii")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.close()
                    continue
                self._lock = lock
                self.path = root / str(number)
                return
        except OSError as error:
            raise StorageError(f"{root} cannot be used: {error.strerror}.", mend="Set [kafka] folder.") from error
        raise StorageError(f"{SLOTS_MAX} processes use {root} already.", mend="Set [kafka] folder to another one.")

    def release(self) -> None:
        """Idempotent."""
        self._lock.close()


def compile_definition(definition: Definition, earlier: Sequence[Definition]) -> Catalog:
    """The catalog of a deployed definition. Raises DefinitionError."""
    versions: dict[tuple[str, str], Workflow] = {}
    for each in earlier:
        loaded = load_files(_workflow_files(each), channels=None)
        if loaded.catalog is not None:  # a newer Anlass may refuse what an older one took
            versions.update(loaded.catalog.versions)
    loaded = load_files(_workflow_files(definition), extra_versions=list(versions.values()), channels=None)
    if loaded.catalog is None:
        problems = [problem for problem in loaded.problems if problem.severity == "error"]
        raise DefinitionError(f"The definition {definition.id} does not compile.", problems=problems)
    return with_phone_numbers(with_public_holidays(loaded.catalog))


def _workflow_files(definition: Definition) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in sorted(definition.files.items()) if name.startswith(WORKFLOWS)]
