"""Brings the bounces that flufl.bounce is tested with, once, from its source distribution into `.cache/bounce-mails/<version>/`.

Invariant: the folder of a version is whole or absent; every later use asks nobody.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from engine.errors import ServiceUnreachable
from tests.services.kafka_jars import locked

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "bounce-mails"
DOWNLOAD_SECONDS_MAX = 300
MAILS_MIN = 100


def version() -> str:
    """The version that requirements.lock pins."""
    found = re.search(r"^flufl-bounce==([\d.]+)\b", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    assert found, "requirements.lock pins no flufl-bounce"
    return found[1]


def bounce_mails(cache: Path = CACHE) -> Path:
    """The folder with the mails. Raises ServiceUnreachable when they are not there and cannot be fetched."""
    home = cache / version()
    if home.is_dir():
        return home
    with locked(cache / "lock"):
        if not home.is_dir():
            _fetch(home)
    return home


def _fetch(home: Path) -> None:
    mend = "Let pip reach its index once: it fetches the source distribution of flufl.bounce."
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".new-") as name:
        folder, fresh = Path(name), Path(name) / "mails"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "flufl.bounce"]
        command += ["-d", str(folder), f"flufl.bounce=={home.name}"]
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS_MAX)
        except subprocess.TimeoutExpired as error:
            raise ServiceUnreachable("The mails of flufl.bounce did not come in time.", mend=mend) from error
        archives = list(folder.glob("*.tar.gz"))
        if run.returncode or not archives:
            raise ServiceUnreachable("The source distribution of flufl.bounce cannot be fetched.", mend=mend)
        fresh.mkdir()
        with tarfile.open(archives[0]) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member) if member.isfile() and "/tests/data/" in member.name else None
                if file is not None and member.name.endswith(".txt"):
                    (fresh / Path(member.name).name).write_bytes(file.read())
        if len(list(fresh.iterdir())) < MAILS_MIN:
            raise ServiceUnreachable("The source distribution of flufl.bounce has no mails.", mend=mend)
        fresh.rename(home)


if __name__ == "__main__":
    print(bounce_mails())  # noqa: T201 - where they are, for whoever asks
