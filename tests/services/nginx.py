"""A real nginx for tests, with the sample configuration of the guide: the machine's, else Debian's package unpacked.

Invariant: nothing is installed, and the process ends with the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.services.debian import missing_packages, unpack
from tests.services.ports import free_ports

ROOT = Path(__file__).parents[2]
PROXY = ROOT / "docs" / "operators" / "proxy"
CACHE = ROOT / ".cache" / "nginx"

BehindNginx = Callable[..., contextlib.AbstractAsyncContextManager[str]]
"""What the fixture `behind_nginx` gives."""


def program() -> str:
    """Where it is; raises ServiceUnreachable where it cannot be had."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found:
        return found
    unpacked = CACHE / "root" / "usr" / "sbin" / "nginx"
    mend = "apt-get install nginx"
    if not unpacked.is_file():
        unpack(missing_packages("nginx", cache=CACHE, mend=mend), CACHE / "root", mend=mend)
    return str(unpacked)


@contextlib.asynccontextmanager
async def behind_nginx(collector: str, folder: Path, *, port: int = 0) -> AsyncIterator[str]:
    """The sample as it is, on this port or a free one, without TLS, in front of this collector."""
    port = port or free_ports(1)[0]
    sample = (PROXY / "nginx.conf").read_text()
    sample = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{port};", sample)
    sample = re.sub(r"(?m)^\s*ssl_certificate.*\n", "", sample)
    assert "http://127.0.0.1:8080" in sample
    sample = sample.replace("http://127.0.0.1:8080", collector)
    temp = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; {temp}\n{sample}\n}}\n"
    )
    command = [program(), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            assert process.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
