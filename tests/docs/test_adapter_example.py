"""The adapter of the guide is a channel: found by its entry point, it delivers what `anlass send-test` sends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Channel, OutgoingMessage, Receipt, TransientError, Unsupported
from tests.docs.page import ROOT, blocks

PAGE = ROOT / "docs" / "adapter-authors.md"


def _block(language: str) -> str:
    [text] = [block.text for block in blocks(PAGE) if block.language == language]
    return text


@pytest.fixture
def example() -> Any:
    """The module of the guide."""
    module = types.ModuleType("anlass_letter")
    exec(_block("python"), module.__dict__)  # noqa: S102 - our own page
    return module


def _message(**changes: Any) -> OutgoingMessage:
    fields = {"id": "0" * 32, "channel": "letter", "to": "Lindenallee 4, Berlin", "text": "Hello\n", "date_ms": 0}
    return OutgoingMessage(**{**fields, **changes})


async def test_it_fills_the_contract(example: Any, tmp_path: Path) -> None:
    """A receipt means that the letter is there, once, also when it is sent twice or many at once."""
    channel = example.create({"folder": str(tmp_path / "out")})
    assert isinstance(channel, Channel)
    await channel.open()
    messages = [_message(id=f"{number:032x}", text=f"Hello {number}") for number in range(20)]
    receipts = await asyncio.gather(*(channel.send(message) for message in [*messages, *messages]))
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    texts = {json.loads(file.read_text("utf-8"))["text"] for file in (tmp_path / "out").iterdir()}
    assert texts == {f"Hello {number}" for number in range(20)}
    await channel.close()
    await channel.close()


async def test_it_says_what_goes_wrong(example: Any, tmp_path: Path) -> None:
    """A folder that cannot be written is transient, a header unsupported, a missing setting an error with the mend."""
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(TransientError):
        await example.create({"folder": str(tmp_path / "file" / "out")}).send(_message())
    with pytest.raises(Unsupported):
        await example.create({"folder": str(tmp_path)}).send(_message(headers=(("X-A", "b"),)))
    with pytest.raises(ValueError, match="ANLASS_LETTER__FOLDER"):
        example.create({})


def test_the_command_line_finds_it(tmp_path: Path) -> None:
    """With the entry point of the guide's pyproject.toml, `send-test` delivers a letter."""
    package = tomllib.loads(_block("toml"))["project"]
    [(group, entries)] = package["entry-points"].items()
    library = tmp_path / "library"
    metadata = library / f"{package['name'].replace('-', '_')}-{package['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package['name']}\nVersion: {package['version']}\n"
    )
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    module = next(iter(entries.values())).partition(":")[0]
    (library / f"{module}.py").write_text(_block("python"), "utf-8")
    template = tmp_path / "shop" / "templates" / "letter" / "invitation.txt"
    template.parent.mkdir(parents=True)
    template.write_text("Hello {{ customer.first_name }}\n", "utf-8")
    (tmp_path / "shop" / "workflows").mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{library}", "ANLASS_LETTER__FOLDER": str(tmp_path / "out")}
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", "send-test", "letter/invitation", "--to", "Lindenallee 4", "--project", "shop"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "left for the print shop" in done.stdout
    [letter] = (tmp_path / "out").iterdir()
    assert json.loads(letter.read_text("utf-8"))["to"] == "Lindenallee 4"
