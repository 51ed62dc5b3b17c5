"""Brings Apache Kafka's jars, once, from Maven Central into `.cache/kafka/<version>/`.

Invariant: the folder of a version is whole or absent. It is filled beside its place and renamed, under a lock, so
workers that ask at the same moment download once; every later use asks neither Maven nor the network.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from engine.errors import ServiceUnreachable

HERE = Path(__file__).resolve().parent
POM = HERE / "pom.xml"
CACHE = HERE.parent.parent / ".cache" / "kafka"
JAVA_MIN = 17
DOWNLOAD_SECONDS_MAX = 600
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def version() -> str:
    """Returns the Kafka version that the pom names."""
    found = re.search(r"<kafka\.version>([\d.]+)</kafka\.version>", POM.read_text(encoding="utf-8"))
    assert found, f"{POM} names no kafka.version"
    return found[1]


@cache
def java() -> str:
    """Returns the path of a Java that is new enough for the broker: JAVA_HOME's, else the one on PATH.

    Raises:
        ServiceUnreachable: there is none, or it is too old.
    """
    mend = f"Install a JRE {JAVA_MIN} or newer (Debian and Ubuntu: apt install openjdk-17-jre-headless)."
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if found is None:
        raise ServiceUnreachable("Java is missing, which runs Kafka.", mend=mend)
    run = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    told = re.search(r'version "(\d+)', run.stderr + run.stdout)
    if told is None or int(told[1]) < JAVA_MIN:
        raise ServiceUnreachable(f"{found} is not Java {JAVA_MIN}, which Kafka needs.", mend=mend)
    return found


def jars(cache: Path = CACHE) -> Path:
    """Returns the folder with the jars of Kafka, and fetches them with Maven when it is not there yet.

    Raises:
        ServiceUnreachable: the jars are not in the cache, and Maven is missing or could not fetch them.
    """
    home = cache / version()
    if _is_current(home):
        return home
    with locked(cache / "lock"):
        if not _is_current(home):
            _fetch(home)
    return home


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path` among processes; the kernel frees it however the holder ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_current(home: Path) -> bool:
    try:
        return (home / "pom.xml").read_bytes() == POM.read_bytes()
    except FileNotFoundError:
        return False


def _fetch(home: Path) -> None:
    mend = "Install Maven (Debian and Ubuntu: apt install maven) and let it reach Maven Central once."
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceUnreachable("Maven is missing, which brings Kafka's jars.", mend=mend)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".new-") as name:
        fresh = Path(name) / "jars"
        fresh.mkdir()
        command = [maven, "-B", "-q", "-f", str(POM), COPY, "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS_MAX, cwd=name
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceUnreachable("Maven did not bring Kafka's jars in time.", mend=mend) from error
        if run.returncode != 0 or not any(fresh.glob("kafka_*.jar")):
            reason = next((line for line in run.stdout.splitlines() if "ERROR" in line), "it gave no reason")
            raise ServiceUnreachable(f"Maven could not bring Kafka's jars: {reason[:300]}", mend=mend)
        shutil.copy(POM, fresh / "pom.xml")
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
