"""`anlass dkim-key`: the file, the record, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from channels.mail import dkim_keys
from tests.cli.conftest import Outcome, anlass


def run(*arguments: str, cwd: Path) -> Outcome:
    return anlass("dkim-key", *arguments, cwd=cwd, env={"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": os.sep})


@pytest.mark.parametrize(("option", "kind"), [((), "rsa"), (("--ed25519",), "ed25519")])
def test_a_key_and_its_record(tmp_path: Path, option: tuple[str, ...], kind: dkim_keys.Kind) -> None:
    """The file is the owner's alone, the record is that of its public half, in strings that a zone file can hold."""
    done = run("k.pem", "--domain", "shop.example", "--selector", "s1", *option, cwd=tmp_path)
    assert done.status == 0, done.err
    assert stat.S_IMODE((tmp_path / "k.pem").stat().st_mode) == 0o600
    key = dkim_keys.load_key(str(tmp_path / "k.pem"), kind=kind, selector="s1", domain="shop.example")
    (line,) = [line for line in done.out.splitlines() if " IN TXT " in line]
    name, _, value = line.partition(" IN TXT ")
    assert name == "s1._domainkey.shop.example."
    strings = value.strip('"').split('" "')
    assert "".join(strings) == dkim_keys.record_value(key.private)
    assert all(len(string) <= 255 for string in strings)
    assert "PRIVATE" not in done.out


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """Neither a key nor anything else; one sentence and status 2."""
    (tmp_path / "k.pem").write_text("mine")
    done = run("k.pem", "--domain", "shop.example", "--selector", "s1", cwd=tmp_path)
    assert (done.status, (tmp_path / "k.pem").read_text()) == (2, "mine")
    assert done.err.startswith("anlass: k.pem exists.")
    assert "Traceback" not in done.err


@pytest.mark.parametrize("wrong", [("--domain", "shop example"), ("--domain", "-x.de"), ("--selector", "a/b")])
def test_names_that_dns_cannot_have_are_refused(tmp_path: Path, wrong: tuple[str, str]) -> None:
    """Before a key is made."""
    given = {"--domain": "shop.example", "--selector": "s1", wrong[0]: wrong[1]}
    done = run("k.pem", *(part for pair in given.items() for part in pair), cwd=tmp_path)
    assert done.status == 2
    assert "DNS" in done.err
    assert not (tmp_path / "k.pem").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Is named."""
    done = run("no/k.pem", "--domain", "shop.example", "--selector", "s1", cwd=tmp_path)
    assert done.status == 2
    assert "cannot be written" in done.err
