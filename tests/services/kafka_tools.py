"""Kafka's own console producer, as `kafka-console-producer.sh` runs it: a producer that knows nothing of us.

Invariant: its jar is fetched once, into a cache of its own beside the broker's, and is whole or absent.
"""

import shutil
import subprocess
from pathlib import Path

from engine.errors import ServiceUnreachable
from tests.services.kafka_jars import CACHE, DOWNLOAD_SECONDS_MAX, jars, java, locked, version

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
TOOLS = CACHE.parent / "kafka-tools"


def console_producer(bootstrap: str, topic: str, *properties: str) -> list[str]:
    """Returns the command that writes each line of its input; `properties` are those of its line reader, `parse.key=true` say.

    Raises:
        ServiceUnreachable: the jars are not there and cannot be fetched.
    """
    classes = ("-cp", f"{jars()}/*:{_jar()}", "org.apache.kafka.tools.ConsoleProducer")
    command = [
        java(),
        "-Xmx128m",
        "-XX:TieredStopAtLevel=1",
        *classes,
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
    ]
    return command + [word for name in properties for word in ("--reader-property", name)]


def _jar() -> Path:
    name = f"kafka-tools-{version()}.jar"
    with locked(TOOLS / "lock"):
        if not (TOOLS / name).exists():
            maven = shutil.which("mvn")
            if maven is None:
                raise ServiceUnreachable(
                    "Maven is missing, which brings Kafka's console producer.",
                    mend="Install Maven (Debian and Ubuntu: apt install maven) and let it reach Maven Central once.",
                )
            artifact = f"-Dartifact=org.apache.kafka:kafka-tools:{version()}"
            command = [maven, "-B", "-q", COPY, artifact, f"-DoutputDirectory={TOOLS / 'new'}"]
            run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS_MAX)
            if run.returncode != 0:
                raise ServiceUnreachable(f"Maven could not bring Kafka's console producer: {run.stdout[-300:]}")
            (TOOLS / "new" / name).rename(TOOLS / name)
    return TOOLS / name
