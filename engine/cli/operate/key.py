"""`anlass key`: keys that events come with.

Invariant: a key is made and printed once, and kept nowhere; a list of keys shows no secret.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import json_option, project_folder, project_option
from engine.cli.output import console, json_line, quiet_log, safe, table
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.settings import KeySection

KEY_BYTES = 24
"""192 bits."""


@click.group("key")
def key() -> None:
    """Make and list the keys that events are sent with.

    A server key stays on the shop's server and may send everything. A browser key stands in pages, and may only say what
    a visitor does.

    Examples:
      anlass key new shop
      anlass key new --browser web --origin https://shop.example
      anlass key list
    """


@key.command("new")
@click.argument("name")
@click.option("--browser", is_flag=True, help="A key for pages and apps.")
@click.option("--origin", "origins", multiple=True, metavar="ORIGIN", help="A page's origin; may be repeated.")
def new(name: str, *, browser: bool, origins: tuple[str, ...]) -> None:
    """Make a key, and print it with the settings that put it in force. It is not stored.

    Examples:
      anlass key new shop
      anlass key new --browser web --origin https://shop.example
    """
    from pydantic import ValidationError

    from engine.settings import KeySection
    from engine.settings.key_reading import VARIABLE

    kind, public = ("browser", f"web_{_word()}") if browser else ("server", "")
    try:
        made = KeySection.model_validate({"name": name, "kind": kind, "key": public, "origins": origins})
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UsageError(
            f"{name!r} cannot be made: {said}.", mend="Name it with letters, digits, - and _, as in web-shop."
        ) from error
    variable = VARIABLE + made.variable.upper()
    lines = ["# anlass.toml", "[[collector.keys]]", f'name = "{name}"', f'kind = "{kind}"']
    if browser:
        shown = ", ".join(f'"{origin}"' for origin in origins) or '"https://shop.example"'
        lines += [f'key = "{public}"    # public: pages send it', f"origins = [{shown}]"]
    what = "proves a userId; it stays on the shop's server" if browser else "what the shop's server sends"
    lines += ["", f"# environment: {what}", f"{variable}={_word()}"]
    click.echo("\n".join(lines))


@key.command("list")
@json_option
@project_option
def list_keys(*, as_json: bool, folder: Path) -> None:
    """List the keys of a project: name, kind, and when each was last used.

    The last use is kept in var/ of the machine that takes the events in, at most a minute late.

    Examples:
      anlass key list
      anlass key list --json
    """
    from engine.clock import to_rfc3339
    from engine.collector.intake.key_use import FILE, last_uses
    from engine.settings import KeySection, load_settings

    quiet_log()
    settings = load_settings(project_folder(folder))
    used = last_uses(settings.database_path.parent / FILE)
    old = (KeySection.model_construct(name=name) for name in settings.collector.write_keys)
    keys = [*old, *settings.collector.keys]
    if as_json:
        for each in keys:
            line = {"name": each.name, "kind": each.kind, "revoked": each.revoked, "limits": _limits(each)}
            click.echo(json_line({**line, "last_used": to_rfc3339(used[each.name]) if each.name in used else None}))
        return
    if not keys:
        click.echo("There are no keys: only programs on this machine may send events.")
        return
    rows = table("name", "kind", "last used", "limits")
    for each in keys:
        at = to_rfc3339(used[each.name]) if each.name in used else "never"
        rows.add_row(safe(each.name), f"{each.kind}{', revoked' * each.revoked}", at, safe(_limits(each)))
    console().print(rows)


def _limits(key: KeySection) -> str:
    said = [f"from {', '.join(key.origins) or 'apps'}"] if key.kind == "browser" else []
    said += [f"events {', '.join(key.events)}"] if key.events else []
    return "; ".join(said)


def _word() -> str:
    from engine.settings.keys import weakness

    while weakness(word := secrets.token_urlsafe(KEY_BYTES)):  # one of millions looks like words
        pass
    return word
