"""`anlass init`: a small project that is valid, tested and ready to run.

Invariant: nothing that exists is ever overwritten; what is written passes `anlass check` and `anlass test`.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from engine.errors import UsageError

RENAMED = {"gitignore.txt": ".gitignore", "events.jsonl.txt": "events.jsonl"}
"""Files of the starter that lie in the package under another name."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Make a small project in the folder DIR, which must be empty or not exist yet.

    It holds a policy, one workflow with its tests, templates in English and German, example events, and an anlass.toml in which
    every setting is explained.

    Examples:
      anlass init shop
    """
    _refuse_unless_empty(folder)
    try:
        names = _copy(resources.files("engine.cli.author") / "starter", folder)
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} cannot be written: {error.strerror}.", mend="Choose another folder."
        ) from error
    click.echo(f"Made a project in {folder}:")
    for name in sorted(names):
        click.echo(f"  {name}")
    click.echo(
        f"""
What to do next:
  cd {folder}
  anlass check
  anlass test
  anlass run                            leave it running, and in another terminal:
  anlass emit examples/events.jsonl
  anlass show customer ana              then open http://127.0.0.1:8081/mailbox"""
    )


def _refuse_unless_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", mend="Choose the name of a new folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty.", mend="Choose a new or empty folder; nothing was changed.")


def _copy(source: Traversable, folder: Path) -> list[str]:
    """Writes what is in `source` into `folder`; returns the names written, relative to it."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for entry in source.iterdir():
        name = RENAMED.get(entry.name, entry.name)
        if entry.is_dir():
            written += [f"{name}/{inner}" for inner in _copy(entry, folder / name)]
        else:
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(entry.read_text("utf-8"))
            written.append(name)
    return written
