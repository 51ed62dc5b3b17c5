"""A real browser for tests: the machine's Chromium, else Debian's packages unpacked into `.cache/chromium/`.

Invariant: nothing is installed. The browser is driven by Playwright's library, which brings no browser of its own.
"""

import os
import shutil
from pathlib import Path

from engine.errors import ServiceUnreachable
from tests.services.debian import missing_packages, unpack
from tests.services.kafka_jars import HERE, locked

CACHE = HERE.parent.parent / ".cache" / "chromium"
MEND = "Install Chromium (Debian and Ubuntu: apt install chromium)."
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> Path:
    """The program. Raises ServiceUnreachable when there is none, and it cannot be had."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    program = CACHE / "root" / "usr" / "lib" / "chromium" / "chromium"
    with locked(CACHE / "lock"):
        if not program.exists():
            unpack(missing_packages("chromium", cache=CACHE, mend=MEND), CACHE / "root", mend=MEND)
    if not program.exists():
        raise ServiceUnreachable("Chromium's packages hold no browser.", mend=MEND)
    return program


def environment(program: Path) -> dict[str, str]:
    """What it is started with: unpacked packages have their libraries beside them."""
    root = CACHE / "root"
    if not program.is_relative_to(root):
        return dict(os.environ)
    folders = sorted({str(path.parent) for path in root.glob("usr/lib/**/*.so*")} | {str(root / "usr" / "lib")})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)}
