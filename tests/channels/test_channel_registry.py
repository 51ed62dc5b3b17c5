"""Finding adapters by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from channels import recording
from channels.contract import Channel
from channels.mail import email
from channels.registry import UnknownChannel, known, load

FOREIGN = """
from channels.contract import Capabilities, Receipt

class Carrier:
    name = "pigeon"
    capabilities = Capabilities()
    async def open(self): ...
    async def close(self): ...
    async def send(self, delivery): return Receipt("", "took off")

def create(settings): return Carrier()
not_callable = 3
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package of a third party, as pip would leave it."""
    (tmp_path / "pigeonpost.py").write_text(FOREIGN)
    info = tmp_path / "pigeonpost-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeonpost\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[anlass.channels]\npigeon = pigeonpost:create\nlame = pigeonpost:missing\nodd = pigeonpost:not_callable\n"
        "email = pigeonpost:create\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pigeonpost", raising=False)


def test_the_built_in_ones_are_known() -> None:
    """Without any installation."""
    assert load("email") is email.create
    assert load("mailbox") is recording.create


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    """The error mends a typo, or lists what there is."""
    with pytest.raises(UnknownChannel, match="did you mean 'email'"):
        load("emial")
    with pytest.raises(UnknownChannel, match="email, mailbox"):
        load("smoke-signals")


def test_a_third_party_adds_one(foreign: None) -> None:
    """Its factory is found by entry point, and its channel fills the contract."""
    assert "pigeon" in known()
    assert isinstance(load("pigeon")({}), Channel)


@pytest.mark.parametrize("name", ["lame", "odd"])
def test_a_broken_third_party_is_named(foreign: None, name: str) -> None:
    """The operator learns whose adapter does not load."""
    with pytest.raises(UnknownChannel, match="pigeonpost"):
        load(name)


def test_nobody_takes_a_built_in_name(foreign: None) -> None:
    """An installed package cannot put itself before our mail."""
    assert load("email") is email.create
