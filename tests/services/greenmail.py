"""A real mail server for tests that fetch: GreenMail speaks IMAP and POP3, with TLS and without.

Invariant: it listens on 127.0.0.1 only, holds everything in memory, and ends with the test that started it.
"""

from __future__ import annotations

import contextlib
import imaplib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from engine.errors import ServiceUnreachable
from tests.services.kafka_jars import java, locked
from tests.services.ports import free_ports

VERSION = "2.1.5"
CACHE = Path(__file__).resolve().parent.parent.parent / ".cache" / "greenmail"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
USER, PASSWORD = "bounces", "apassword"
_DOWNLOAD_SECONDS_MAX = 300
_START_SECONDS_MAX = 60.0


def jar(cache: Path = CACHE) -> Path:
    """The server, fetched with Maven once. Raises ServiceUnreachable."""
    found = cache / f"greenmail-standalone-{VERSION}.jar"
    if found.is_file():
        return found
    mend = "Install Maven (Debian and Ubuntu: apt install maven) and let it reach Maven Central once."
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceUnreachable("Maven is missing, which brings GreenMail.", mend=mend)
    with locked(cache / "lock"), tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as name:
        if not found.is_file():
            artifact = f"-Dartifact=com.icegreen:greenmail-standalone:{VERSION}"
            command = [maven, "-B", "-q", COPY, artifact, f"-DoutputDirectory={name}"]
            try:
                run = subprocess.run(command, capture_output=True, check=False, timeout=_DOWNLOAD_SECONDS_MAX, cwd=name)
            except subprocess.TimeoutExpired as error:
                raise ServiceUnreachable("Maven did not bring GreenMail in time.", mend=mend) from error
            fresh = Path(name) / found.name
            if run.returncode or not fresh.is_file():
                raise ServiceUnreachable("Maven could not bring GreenMail.", mend=mend)
            fresh.rename(found)
    return found


class GreenMail:
    """A running server with one user."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports

    @contextlib.contextmanager
    def inbox(self, folder: str = "INBOX") -> Iterator[imaplib.IMAP4]:
        """A connection of the test's own, with the folder selected."""
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=20)
        try:
            client.login(USER, PASSWORD)
            client.select(folder)
            yield client
        finally:
            client.logout()

    def put(self, *mails: bytes) -> None:
        """Puts mails into the inbox."""
        with self.inbox() as client:
            for mail in mails:
                client.append("INBOX", "", "", mail)

    def count(self, folder: str = "INBOX") -> int:
        """How many mails are in the folder, 0 when there is none."""
        with self.inbox() as client:
            status, data = client.select(folder)
            return int(data[0] or 0) if status == "OK" else 0

    def empty(self) -> None:
        """Removes all mails of the inbox."""
        with self.inbox() as client:
            client.store("1:*", "+FLAGS", "\\Deleted")
            client.expunge()


@contextlib.contextmanager
def greenmail(folder: Path, certificate: Path) -> Iterator[GreenMail]:
    """Starts it with a certificate (PEM with its key); ends it afterwards. Raises ServiceUnreachable."""
    names = ("imap", "imaps", "pop3", "pop3s")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    pem = certificate.read_bytes()
    store = folder / "key.p12"
    store.write_bytes(
        serialize_key_and_certificates(
            b"mail",
            load_pem_private_key(pem, None),  # type: ignore[arg-type]  # an elliptic key
            x509.load_pem_x509_certificate(pem),
            None,
            BestAvailableEncryption(PASSWORD.encode()),
        )
    )
    options = {
        "greenmail.users": f"{USER}:{PASSWORD}@shop.example",
        "greenmail.users.login": "local_part",
        "greenmail.startup.timeout": str(int(_START_SECONDS_MAX * 1000)),
        "greenmail.hostname": "127.0.0.1",
        "greenmail.tls.keystore.file": str(store),
        "greenmail.tls.keystore.password": PASSWORD,
        **{f"greenmail.{name}.port": str(port) for name, port in ports.items()},
        **{f"greenmail.{name}.hostname": "127.0.0.1" for name in ports},
    }
    with (folder / "greenmail.log").open("wb") as log:
        command = [java(), "-Xmx128m", *(f"-D{name}={value}" for name, value in options.items()), "-jar", str(jar())]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(process, ports, folder / "greenmail.log")
        yield GreenMail(ports)
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], ports: dict[str, int], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS_MAX
    for port in ports.values():
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"GreenMail did not start: {log.read_text('utf-8', 'replace')[-2_000:]}")
            time.sleep(0.1)
