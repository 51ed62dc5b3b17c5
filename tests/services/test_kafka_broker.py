"""The broker that our tests run on is a real one: it keeps what it acknowledged, and it never stays behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from kafka import KafkaProducer

from engine.errors import ServiceUnreachable
from tests.services import kafka_jars as brought
from tests.services.kafka import ARCHIVE, Cluster, admin, create_topics, record_classes
from tests.services.kafka_holder import shared
from tests.services.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDS = 500

Start = Callable[..., Cluster]


def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Returns only when each record was acknowledged."""
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", max_request_size=16 * 1024 * 1024)
    try:
        for sent in [producer.send(topic, value) for value in values]:
            sent.get(timeout=30)
    finally:
        producer.close()


async def _consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Reads from the beginning until `count` records came."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


def _values(start: int, count: int) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


def _runs(pid: int) -> bool:
    """Tells whether a process runs; one that ended and was not yet waited for does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _gone_in_time(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _runs(pid)


async def test_what_is_produced_is_consumed(kafka: str, topic_prefix: str) -> None:
    """Records go in by one client and come out of another, in order."""
    topic = f"{topic_prefix}records"
    create_topics(kafka, {topic: 1})
    await asyncio.to_thread(_produce, kafka, topic, _values(0, RECORDS))
    assert await _consume(kafka, topic, RECORDS) == _values(0, RECORDS)


async def test_a_record_of_ten_megabytes_passes(kafka: str, topic_prefix: str) -> None:
    """The broker's limit is above the largest record that we speak of."""
    topic = f"{topic_prefix}large"
    create_topics(kafka, {topic: 1})
    large = os.urandom(10 * 1024 * 1024)
    await asyncio.to_thread(_produce, kafka, topic, [large])
    assert await _consume(kafka, topic, 1) == [large]


def test_no_topic_appears_by_itself(kafka: str, topic_prefix: str) -> None:
    """A topic that nobody created stays unknown, so a misspelt name is noticed."""
    with admin(kafka) as client:
        assert not [name for name in client.list_topics() if name.startswith(topic_prefix)]
    producer = KafkaProducer(bootstrap_servers=kafka, max_block_ms=2000)
    with pytest.raises(Exception, match=r"(?i)topic|metadata"):
        producer.send(f"{topic_prefix}nobody", b"x").get(timeout=3)
    producer.close(timeout=1)


async def test_a_killed_broker_keeps_what_it_acknowledged(kafka_cluster: Start) -> None:
    """After SIGKILL and a start on the same port every acknowledged record is there, and new ones are taken."""
    async with asyncio.timeout(100):
        cluster = await asyncio.to_thread(kafka_cluster)
        before = cluster.bootstrap
        create_topics(cluster.bootstrap, {"records": 1})
        await asyncio.to_thread(_produce, cluster.bootstrap, "records", _values(0, RECORDS))
        pid = cluster.pid(0)
        await asyncio.to_thread(cluster.kill, 0)
        assert not _runs(pid)
        await asyncio.to_thread(cluster.restart, 0)
        assert (cluster.bootstrap, cluster.pid(0) != pid) == (before, True)
        await asyncio.to_thread(_produce, cluster.bootstrap, "records", _values(RECORDS, RECORDS))
        assert await _consume(cluster.bootstrap, "records", 2 * RECORDS) == _values(0, 2 * RECORDS)


async def test_of_three_brokers_any_one_may_die(kafka_cluster: Start) -> None:
    """Two of three go on taking records; the third comes back and catches up."""
    cluster = await asyncio.to_thread(kafka_cluster, 3)
    assert len(cluster.bootstrap.split(",")) == 3
    create_topics(cluster.bootstrap, {"records": 3})
    await asyncio.to_thread(_produce, cluster.bootstrap, "records", _values(0, RECORDS))
    await asyncio.to_thread(cluster.kill, 1)
    await asyncio.to_thread(_produce, cluster.bootstrap, "records", _values(RECORDS, RECORDS))
    await asyncio.to_thread(cluster.restart, 1)
    await asyncio.to_thread(cluster.stop_broker, 2)
    came = await _consume(cluster.bootstrap, "records", 2 * RECORDS)
    assert sorted(came) == _values(0, 2 * RECORDS)


async def test_a_stopped_cluster_keeps_its_ports_and_records(kafka_jars: None, tmp_path: Path) -> None:
    """`make kafka` may be stopped and started: the second start finds the data of the first."""
    async with Cluster(folder=tmp_path) as first:
        create_topics(first.bootstrap, {"records": 1})
        await asyncio.to_thread(_produce, first.bootstrap, "records", _values(0, 5))
    async with Cluster(folder=tmp_path, properties={"log.retention.hours": "1"}) as second:
        assert second.bootstrap == first.bootstrap
        assert await _consume(second.bootstrap, "records", 5) == _values(0, 5)
    with pytest.raises(ServiceUnreachable, match=r"cluster of 1, not of 3"):
        Cluster(3, folder=tmp_path).start()


def test_a_broker_that_cannot_start_says_why(kafka_jars: None, tmp_path: Path) -> None:
    """A setting that Kafka refuses is an error with Kafka's own words, not a time-out, and leaves no process."""
    cluster = Cluster(folder=tmp_path, properties={"log.segment.bytes": "none"})
    with pytest.raises(ServiceUnreachable, match=r"log\.segment\.bytes"):
        cluster.start()


def test_a_jvm_that_cannot_record_its_classes_starts_all_the_same(
    kafka_jars: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where class archives do not work, an empty one is left, which costs nothing but the quicker start."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xshare:off")
    record_classes(tmp_path / ARCHIVE)
    assert (tmp_path / ARCHIVE).read_bytes() == b""
    with Cluster(folder=tmp_path / "kafka") as cluster:
        create_topics(cluster.bootstrap, {"records": 1})


def test_a_port_that_is_taken_is_refused(kafka_jars: None, kafka: str, tmp_path: Path) -> None:
    """A broker that already answers there is not taken for the one that was to be started."""
    port = int(kafka.rpartition(":")[2])
    with pytest.raises(ServiceUnreachable, match=rf"Port {port} .* is taken"):
        Cluster(folder=tmp_path, ports=(port,)).start()


def test_the_command_runs_a_broker_until_it_is_interrupted(kafka_jars: None, tmp_path: Path) -> None:
    """`make kafka` tells the address, answers on it, and takes its broker along when it is told to end."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.services", "kafka", "--port", str(port), "--folder", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        assert run.stdout is not None
        told = [run.stdout.readline() for _ in range(3)]
        create_topics(f"127.0.0.1:{port}", {"records": 1})
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read()
        assert run.wait(30) == 0, rest
    assert told[1:] == [
        f"Kafka answers on 127.0.0.1:{port}\n",
        "Ctrl-C stops it; the data stays for the next start.\n",
    ]
    assert rest.strip() == "Kafka stopped."
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


STARTS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from tests.services.kafka import Cluster
cluster = Cluster(folder=Path(sys.argv[1]))
cluster.start()
print(cluster.pid(0), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent; run this test on Linux")
def test_a_broker_ends_with_the_process_that_started_it(kafka_jars: None, tmp_path: Path) -> None:
    """The owner dies by SIGKILL and can clean nothing up; the broker is gone all the same."""
    run = subprocess.run(
        [sys.executable, "-c", STARTS_AND_DIES, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert _gone_in_time(int(run.stdout))


USES_AND_DIES = """
import os, signal, sys
from pathlib import Path
from tests.services.kafka_holder import shared
from tests.services.ports import free_ports
with shared(Path(sys.argv[1])) as bootstrap:
    print(bootstrap, flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_all_users_share_one_broker_until_the_last_is_gone(kafka_jars: None, tmp_path: Path) -> None:
    """A user that dies takes nothing from the others; after the last the broker ends; a later one gets a new one."""
    command = [sys.executable, "-c", USES_AND_DIES, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        addresses = {other.stdout.readline().strip()}
        with shared(tmp_path) as bootstrap, shared(tmp_path) as again:
            addresses |= {bootstrap, again}
            assert len(addresses) == 1
            other.stdin.write("die\n")
            other.stdin.flush()
            assert other.wait(10) == -signal.SIGKILL
            time.sleep(1)
            create_topics(bootstrap, {"still": 1})
    with shared(tmp_path) as bootstrap:
        create_topics(bootstrap, {"anew": 1})


# ------------------------------------------------------------------------------------------------- the jars


def _fake_maven(folder: Path, script: str) -> Path:
    """Puts a program named mvn into `folder`, which counts how often it is called."""
    maven = folder / "mvn"
    maven.write_text(f"#!/bin/sh\necho call >> {folder}/calls\n{script}\n")
    maven.chmod(0o755)
    return folder / "calls"


# Slow enough that the second worker comes while the first is at it.
COPIES = 'sleep 0.3; for last; do :; done; : > "${last#-DoutputDirectory=}/kafka_2.13-0.jar"'


def test_workers_that_ask_at_once_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four ask for an empty cache together: Maven runs once, all get the whole folder, and nothing is left beside it."""
    calls = _fake_maven(tmp_path, COPIES)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        homes = set(pool.map(lambda _: brought.jars(cache), range(4)))
    assert homes == {cache / brought.version()}
    assert calls.read_text() == "call\n"
    assert {path.name for path in cache.iterdir()} == {"lock", brought.version()}


def test_a_second_use_asks_neither_maven_nor_the_network(kafka_jars: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cache filled, a machine without Maven has its jars at once."""
    monkeypatch.setenv("PATH", "")
    begun = time.perf_counter()
    home = brought.jars()
    assert time.perf_counter() - begun < 0.5
    assert list(home.glob("kafka_2.13-*.jar"))


def test_a_download_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maven's own reason is told, the cache stays empty, and the next one tries again."""
    _fake_maven(tmp_path, "echo '[ERROR] no route to the repository'; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ServiceUnreachable, match=r"no route to the repository.*Install Maven"):
        brought.jars(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]
    _fake_maven(tmp_path, COPIES)
    assert brought.jars(tmp_path / "cache").is_dir()


def test_without_maven_the_reason_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This sentence is what a skipped test shows."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServiceUnreachable, match=r"Maven is missing.*apt install maven"):
        brought.jars(tmp_path)


def test_without_java_the_reason_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for Java, whether there is none or one that is too old."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    brought.java.cache_clear()
    try:
        with pytest.raises(ServiceUnreachable, match=r"Java is missing.*apt install openjdk"):
            brought.java()
        (tmp_path / "bin").mkdir()
        old = tmp_path / "bin" / "java"
        old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
        old.chmod(0o755)
        with pytest.raises(ServiceUnreachable, match=r"is not Java 17.*apt install openjdk"):
            brought.java()
    finally:
        brought.java.cache_clear()
