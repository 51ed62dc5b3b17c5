"""The folder a demo leaves behind: a project like any other, copied from the shipped one.

Invariant: a folder is emptied only if an earlier demo made it and nobody uses it now.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from engine.bootstrap import running_url
from engine.errors import SettingsError, UsageError
from engine.runtimes.embedded.store import is_running

MARK: Final = ".anlass-demo"
DEFAULT: Final = Path("var") / "demo"
_COPIED: Final = ("workflows", "templates")
_TOML: Final = """\
# A project that `anlass demo` made, from the workflows and templates that Anlass ships.
# Mail and text messages stay on this machine: they go to the local mailbox,
# http://127.0.0.1:8081/mailbox while `anlass run` runs.

[collector]
port = 8080
"""


def shipped() -> Path:
    """Where the shipped workflows and templates lie. Raises SettingsError when this installation has none."""
    root = Path(__file__).resolve().parents[2]
    if not all((root / name).is_dir() for name in _COPIED):
        raise SettingsError(
            "This installation comes without the shipped workflows.", mend="Run the demo in a checkout, by `make demo`."
        )
    return root


def prepare(folder: Path) -> Path:
    """Makes a fresh project in `folder`, and returns it absolute. Raises UsageError for a folder that is not ours."""
    root = shipped()
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", mend="Name a folder with --project.")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARK).is_file():
            raise UsageError(
                f"{folder} contains something that no demo made.", mend="Name another folder with --project."
            )
        if is_running(folder / "var"):
            where = running_url(folder / "var")
            raise UsageError(
                f"The project in {folder} is running{f' at {where}' if where else ''}.", mend="Stop it first."
            )
    try:
        if folder.is_dir():
            _empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text("Made by `anlass demo`, which may delete everything here.\n", "utf-8")
        for name in _COPIED:
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        (folder / "anlass.toml").write_text(_TOML, "utf-8")
        (folder / "var").mkdir()
    except OSError as error:
        raise SettingsError(
            f"The demo's project cannot be written to {folder}: {error.strerror}.", mend="Name another with --project."
        ) from error
    return folder


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:  # the last thing to go, so that a half-emptied folder still is ours
            path.unlink()
