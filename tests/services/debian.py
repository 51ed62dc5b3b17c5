"""Debian's packages for tests, unpacked into a cache folder: nothing is installed, and no rights of root are needed.

Invariant: the target folder is whole or absent. Where the machine's package lists are missing or old, lists of our own are
fetched into the cache; the machine's stay as they are.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from engine.errors import ServiceUnreachable

SECONDS_MAX = 300.0


def missing_packages(package: str, *, cache: Path, mend: str) -> list[str]:
    """The package and what it needs that this machine does not have. Raises ServiceUnreachable."""
    if shutil.which("apt-get") is None:
        raise ServiceUnreachable(f"{package} is missing.", mend=mend)
    command = ["install", "--simulate", "--no-install-recommends", "-y", package]
    for options in ([], _own_lists(cache)):
        run = subprocess.run(
            ["apt-get", *options, *command], capture_output=True, text=True, check=False, timeout=SECONDS_MAX
        )
        names = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("Inst ")]
        if run.returncode == 0 and names:
            return names
    raise ServiceUnreachable(f"{package} is missing, and apt does not know it.", mend=mend)


def unpack(packages: list[str], root: Path, *, mend: str) -> None:
    """Downloads packages and unpacks them below `root`. Raises ServiceUnreachable when one cannot be had."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".new-") as name:
        folder, fresh = Path(name), Path(name) / "root"
        folder.chmod(0o755)
        try:
            _download(packages, folder, root.parent)
            for package in sorted(folder.glob("*.deb")):
                subprocess.run(["dpkg", "-x", package, fresh], capture_output=True, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            raise ServiceUnreachable(f"{packages[-1]} cannot be downloaded.", mend=mend) from error
        fresh.rename(root)


def _download(packages: list[str], folder: Path, cache: Path) -> None:
    command = ["download", "-o", "APT::Sandbox::User=root", *packages]
    first = subprocess.run(["apt-get", *command], cwd=folder, capture_output=True, check=False, timeout=SECONDS_MAX)
    if first.returncode:  # lists that are missing, or so old that the versions they name are gone
        options = _own_lists(cache)
        subprocess.run(
            ["apt-get", *options, *command], cwd=folder, capture_output=True, check=True, timeout=SECONDS_MAX
        )


def _own_lists(cache: Path) -> list[str]:
    """Options of apt that use lists in the cache, which are fetched if they are not there yet."""
    lists, archives = cache / "lists", cache / "archives"
    options = [
        *("-o", f"Dir::State::lists={lists}"),
        *("-o", f"Dir::Cache={archives}"),
        *("-o", "Debug::NoLocking=1"),
        *("-o", "APT::Sandbox::User=root"),
    ]
    if not lists.exists():
        (lists / "partial").mkdir(parents=True)
        (archives / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["apt-get", *options, "update"], capture_output=True, check=False, timeout=SECONDS_MAX)
        if done.returncode:
            shutil.rmtree(lists)
    return options
