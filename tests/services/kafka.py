"""A real Kafka cluster of one broker or three, without Docker, for tests, benchmarks and development.

    with Cluster(brokers=3, folder=tmp_path) as cluster:
        create_topics(cluster.bootstrap, {"orders": 6})
        cluster.kill(0)
        cluster.restart(0)

Every node is broker and controller (KRaft). Ports and data of a node stay the same for the life of its folder. The calls
block for seconds: in async code use `async with`, and `await asyncio.to_thread(cluster.restart, 0)`.

Invariant: no broker outlives the process that started it. On Linux the kernel sends SIGKILL to a broker when that
process ends, however it ends; elsewhere only an orderly end stops them.
"""

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from engine.errors import ServiceUnreachable
from tests.services.kafka_jars import HERE, jars, java, locked
from tests.services.ports import free_ports, refuse_taken

__all__ = ["ARCHIVE", "START_SECONDS_MAX", "Cluster", "admin", "create_topics", "free_ports", "record_classes"]

ARCHIVE = "broker.jsa"
START_SECONDS_MAX = 90
STOP_SECONDS_MAX = 20
RECORD_SECONDS_MAX = 60
BODY_BYTES_MAX = 16 * 1024 * 1024

# Asks the kernel to end the broker with its parent, then becomes the broker, which so keeps this process's id.
LEASH = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "os.getppid() == int(sys.argv[1]) or os._exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)

# The kernel means the parent's thread: so one thread that lives as long as the process starts all brokers.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-starter")


class Cluster:
    """One Kafka broker or three in `folder`; `properties` are added to each broker's settings, and win.

    `ports` are chosen when they are not given. A folder that was used before keeps its ports and its records.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        folder: Path,
        properties: Mapping[str, str] | None = None,
        ports: tuple[int, ...] = (),
    ) -> None:
        assert brokers in {1, 3}, "one broker, or three"
        assert len(ports) in {0, brokers}, "one port for each broker"
        self.folder = folder.resolve()
        self._properties = dict(properties or {})
        self._brokers = brokers
        self._wished = ports
        self._id = ""
        self._flags: tuple[str, ...] = ()
        self._ports: tuple[int, ...] = ()
        self._controller_ports: tuple[int, ...] = ()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers, running or not: "127.0.0.1:port[,…]"."""
        assert self._ports, "the cluster was not started"
        return ",".join(f"127.0.0.1:{port}" for port in self._ports)

    def pid(self, broker: int) -> int:
        """Returns the process id of a broker that was started."""
        return self._processes[broker].pid

    def start(self) -> None:
        """Starts all brokers and waits until each knows all others.

        Raises:
            ServiceUnreachable: Java or Kafka cannot be had, or a broker ended or did not answer in time.
        """
        archive = jars() / ARCHIVE
        java()
        if not archive.exists():
            record_classes(archive)
        self._start()

    def _start(self, *flags: str) -> None:
        self._flags = flags
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remember()
        every = range(self._brokers)
        for broker in every:
            self._write_settings(broker)
        self._format([broker for broker in every if not (self._home(broker) / "formatted").exists()])
        try:
            for broker in every:
                self._launch(broker)
            self._await(every)
        except BaseException:
            self.stop(graceful=False)
            raise

    def stop(self, *, graceful: bool = True) -> None:
        """Stops all brokers; after STOP_SECONDS_MAX, or at once without `graceful`, by SIGKILL."""
        deadline = time.monotonic() + STOP_SECONDS_MAX * graceful
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM if graceful else signal.SIGKILL)
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def kill(self, broker: int) -> None:
        """Ends one broker by SIGKILL, as a crash of its machine would, except that the page cache survives."""
        self._processes[broker].kill()
        self._processes[broker].wait()

    def freeze(self, broker: int) -> None:
        """SIGSTOP: its connections stay open, and nobody answers on them."""
        self._processes[broker].send_signal(signal.SIGSTOP)

    def thaw(self, broker: int) -> None:
        """SIGCONT."""
        self._processes[broker].send_signal(signal.SIGCONT)

    def stop_broker(self, broker: int) -> None:
        """Stops one broker as an operator would: it hands its partitions over first."""
        process = self._processes[broker]
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill(broker)

    def restart(self, broker: int) -> None:
        """Starts one broker again with its port and its data; one that still runs is stopped first.

        Raises:
            ServiceUnreachable: it ended or did not answer in time.
        """
        if self._runs(broker):
            self.stop_broker(broker)
        self._launch(broker)
        self._await([broker])

    def wait(self) -> None:
        """Waits until one of the brokers has ended, whoever ended it."""
        while all(self._runs(broker) for broker in range(self._brokers)):
            time.sleep(0.5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def _home(self, broker: int) -> Path:
        return self.folder / f"broker-{broker}"

    def _runs(self, broker: int) -> bool:
        return broker in self._processes and self._processes[broker].poll() is None

    def _remember(self) -> None:
        """Reads what this folder was started with before, else decides it, and writes it down."""
        memory = self.folder / "cluster.json"
        known: dict[str, Any] = json.loads(memory.read_text()) if memory.exists() else {}
        if known and len(known["ports"]) != self._brokers:
            raise ServiceUnreachable(
                f"{self.folder} holds a cluster of {len(known['ports'])}, not of {self._brokers}.",
                mend="Start it with that number of brokers, or delete the folder.",
            )
        # Another id for each folder: brokers of two clusters that meet on a port then refuse each other.
        self._id = known.get("id") or base64.urlsafe_b64encode(b"anlass" + os.urandom(10)).decode().rstrip("=")
        self._ports = self._wished or tuple(known.get("ports", ())) or free_ports(self._brokers)
        memory.write_text(json.dumps({"id": self._id, "ports": self._ports}))
        # Nobody outside knows these, and with static voters the storage does not either: new ones at each start.
        self._controller_ports = free_ports(self._brokers)

    def _write_settings(self, broker: int) -> None:
        home = self._home(broker)
        home.mkdir(exist_ok=True)
        copies = str(self._brokers)
        in_sync = "2" if self._brokers > 1 else "1"
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(self._controller_ports))
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(broker),
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"BROKER://127.0.0.1:{self._ports[broker]},CONTROLLER://127.0.0.1:{self._controller_ports[broker]}",
            "advertised.listeners": f"BROKER://127.0.0.1:{self._ports[broker]}",
            "inter.broker.listener.name": "BROKER",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(home / "data"),
            "auto.create.topics.enable": "false",
            "num.partitions": "1",
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "3",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": "3",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
            # A killed broker may register again only when its old session is over; by default that takes 9 s.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "1000",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "2000",
            "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
            "message.max.bytes": str(BODY_BYTES_MAX),
            "replica.fetch.max.bytes": str(BODY_BYTES_MAX),
            "num.network.threads": "2",
            "num.io.threads": "4",
            **self._properties,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (home / "server.properties").write_text(text)

    def _java(self, broker: int, main: str, *arguments: str) -> list[str]:
        home = self._home(broker)
        archive = jars() / ARCHIVE
        heap_mb = 512 if self._brokers == 1 else 384
        return [
            java(),
            *(
                (f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
                if archive.exists()
                else ()
            ),
            f"-Xmx{heap_mb}m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
            f"-Danlass.kafka.log={home / 'broker.log'}",
            *("-cp", f"{jars()}/*", main, *arguments),
        ]

    def _format(self, brokers: list[int]) -> None:
        runs = []
        for broker in brokers:
            # Without our mark no broker ever ran here: what lies there is what an interrupted start left.
            shutil.rmtree(self._home(broker) / "data", ignore_errors=True)
            settings = str(self._home(broker) / "server.properties")
            command = self._java(broker, "kafka.tools.StorageTool", "format", "-t", self._id, "-c", settings)
            runs.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        for broker, run in zip(brokers, runs, strict=True):
            told = run.communicate()[0].decode(errors="replace")
            if run.returncode != 0:
                raise ServiceUnreachable(f"Kafka could not format its storage: {_reason(told)}")
            (self._home(broker) / "formatted").touch()

    def _launch(self, broker: int) -> None:
        for port in (self._ports[broker], self._controller_ports[broker]):
            refuse_taken(port)
        home = self._home(broker)
        command = self._java(broker, "kafka.Kafka", str(home / "server.properties"))
        command[1:1] = self._flags
        if sys.platform == "linux":
            command = [sys.executable, "-S", "-E", "-c", LEASH, str(os.getpid()), *command]

        def spawn() -> subprocess.Popen[bytes]:
            # A session of its own: Ctrl-C in the terminal is for us, who then stop the brokers in order.
            with (home / "broker.out").open("ab") as out:
                return subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
                )

        self._processes[broker] = _starter.submit(spawn).result()

    def _await(self, brokers: Iterable[int]) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        running = sum(self._runs(broker) for broker in range(self._brokers))
        for broker in brokers:
            while not _knows(self._ports[broker], running):
                if not self._runs(broker) or time.monotonic() > deadline:
                    raise ServiceUnreachable(
                        f"Kafka broker {broker} on port {self._ports[broker]} did not start: {self._last_words(broker)}",
                        mend=f"Read {self._home(broker)}/broker.log.",
                    )
                time.sleep(0.1)

    def _last_words(self, broker: int) -> str:
        texts = [self._home(broker) / name for name in ("broker.log", "broker.out")]
        return _reason("\n".join(text.read_text(errors="replace") for text in texts if text.exists()))


@contextmanager
def admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """Opens an administration client and closes it."""
    client = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        yield client
    finally:
        client.close()


def create_topics(bootstrap: str, partitions: Mapping[str, int], **configs: str) -> None:
    """Creates topics, by name with their number of partitions, and waits until each partition has a leader.

    `configs` are settings of the topics, written with underscores: `cleanup_policy="compact"`.
    """
    settings = {name.replace("_", "."): value for name, value in configs.items()}
    wanted = {name: {"num_partitions": count, "configs": settings} for name, count in partitions.items()}
    with admin(bootstrap) as client:
        client.create_topics(wanted, wait_for_metadata=True)


def record_classes(archive: Path) -> None:
    """Runs a broker once that writes its loaded classes down; each later one then starts in nearly half the time.

    A JVM that does not fit the archive, as after an update of Java, ignores it.
    """
    with locked(archive.with_suffix(".lock")):
        if archive.exists():
            return
        with tempfile.TemporaryDirectory(prefix="kafka-classes-") as name:
            fresh = archive.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            cluster = Cluster(folder=Path(name))
            try:
                cluster._start(f"-XX:ArchiveClassesAtExit={fresh}")
                create_topics(cluster.bootstrap, {"any": 1})
                recorder = cluster._processes[0]
                recorder.terminate()
                whole = recorder.wait(RECORD_SECONDS_MAX) == 128 + signal.SIGTERM and fresh.exists()
            except (ServiceUnreachable, subprocess.TimeoutExpired):
                whole = False
            finally:
                cluster.stop(graceful=False)
            if not whole:
                fresh.unlink(missing_ok=True)
                fresh.touch()  # this JVM cannot do it; the empty file, which it ignores, keeps us from trying each time
            fresh.rename(archive)


def _knows(port: int, brokers: int) -> bool:
    """Tells whether the broker on `port` answers and knows at least that many brokers and a controller."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
        with admin(f"127.0.0.1:{port}") as client:
            answer = client.describe_cluster()
    except (OSError, KafkaError):
        return False
    return len(answer["brokers"]) >= brokers and answer["controller_id"] >= 0


def _reason(told: str) -> str:
    """Returns what of a log or a stack trace names the cause: the last lines with an error in them, else the end."""
    causes = [line for line in told.splitlines() if re.search(r"Exception|Error:| ERROR | FATAL ", line)]
    return " / ".join(causes[-2:])[:600] if causes else told[-600:].strip()
