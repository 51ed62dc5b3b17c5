"""Stock Faust and Quix Streams in an environment of their own, `.cache/bench-peers`, made once and again when the pins change.

Invariant: nothing of theirs enters the product's environment, and the folder's stamp names exactly what was installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from engine.errors import ServiceUnreachable

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent / ".cache" / "bench-peers"
# orjson: both take it for JSON when it is there, and are faster with it.
PINS = ("faust-streaming[rocksdb]==0.15.3", "quixstreams==3.28.1", "aiokafka==0.14.0", "orjson==3.13.0", "click==8.3.3")
INSTALL_SECONDS_MAX = 600


def peers_python(home: Path = HOME) -> Path:
    """Returns the interpreter of the peers' environment.

    Raises:
        ServiceUnreachable: it could not be installed.
    """
    stamp, wanted = home / "pins.txt", "\n".join((sys.version, *PINS))
    python = home / "bin" / "python"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    print("Installing stock Faust and Quix Streams into .cache/bench-peers", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS]
    for command in ([sys.executable, "-m", "venv", str(home)], install):
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS_MAX)
        if run.returncode:
            last = (run.stderr.strip() or run.stdout.strip() or "it gave no reason").splitlines()[-1]
            raise ServiceUnreachable(
                f"The peers of the Kafka benchmarks could not be installed: {last[:300]}",
                mend="Let pip reach its index once; without them only our own numbers are measured.",
            )
    stamp.write_text(wanted, "utf-8")
    return python
