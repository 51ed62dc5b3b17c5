"""Arguments that several commands share, and what they mean.

Invariant: a folder that holds no project is refused with one sentence before anything is opened or written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.runtimes.audit import Head

folder_argument = click.argument(
    "folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=True, dir_okay=True)
)
"""The project as an argument; the current folder by default."""

project_option = click.option(
    "--project",
    "folder",
    metavar="DIR",
    default=".",
    show_default="the current folder",
    type=click.Path(path_type=Path, file_okay=True, dir_okay=True),
    help="The project.",
)
"""The project as an option, where the arguments say something else."""

reason_option = click.option("--reason", metavar="TEXT", default="", help="Why, for the audit log.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")


def project_folder(folder: Path) -> Path:
    """The folder, absolute. Raises UsageError when there is no project in it."""
    if not folder.exists():
        raise UsageError(f"There is no folder {folder}.", mend="Make a project with `anlass init DIR`.")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file.", mend="Name the folder of the project.")
    if not (folder / "workflows").is_dir() and not (folder / "anlass.toml").is_file():
        where = "The current folder" if folder == Path() else f"{folder}"
        raise UsageError(
            f"{where} holds no project: no `workflows` folder and no anlass.toml.",
            mend="Name its folder, or make a project with `anlass init DIR`.",
        )
    return folder.resolve()


def var_folder(folder: Path) -> Path:
    """Where the project in `folder` keeps its store. Raises UsageError or SettingsError."""
    from engine.settings import load_settings

    return load_settings(project_folder(folder)).database_path.parent


def sentence(text: str) -> str:
    """The text on one line, with an end."""
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "!")) else f"{text}."


def noted_head(text: str, *, command: str) -> Head:
    """An end of a chain as `command` printed it. Raises UsageError."""
    from engine.runtimes.audit import Head

    number, _, digest = text.strip().partition(":")
    if not number.isascii() or not number.isdecimal() or not digest:
        raise UsageError(f"{text!r} is not an end: that is N:HASH.", mend=f"Give --head what `{command}` printed.")
    return Head(number=int(number), hash=digest)
