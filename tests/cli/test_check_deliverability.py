"""`anlass check --deliverability`: what is printed, what DNS is asked, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from channels.mail import dkim_keys
from tests.channels.dns_double import dns_server
from tests.cli.conftest import Outcome, anlass

ROOT = Path(__file__).resolve().parents[2]
IP = "93.184.215.14"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    shutil.copytree(ROOT / "engine" / "cli" / "author" / "starter", folder)
    dkim_keys.make_key(folder / "k.pem", kind="ed25519")
    (folder / "anlass.toml").write_text(
        '[collector]\npublic_url = "https://m.shop.example"\n'
        '[email]\nhost = "mail.shop.example"\nfrom = "Shop <hello@shop.example>"\nreturn_path = "b+{id}@bounces.shop.example"\n'
        'dkim_ed25519_selector = "e1"\ndkim_ed25519_key_file = "k.pem"\n'
    )
    return folder


def check(project: Path, *arguments: str, **env: str) -> Outcome:
    return anlass("check", project, "--deliverability", *arguments, env={"PYTHONPATH": str(ROOT), **env}, cwd=project)


def zone(project: Path) -> dict[tuple[str, str], list[str]]:
    key = dkim_keys.load_key(str(project / "k.pem"), kind="ed25519", selector="e1", domain="shop.example")
    return {
        ("bounces.shop.example", "TXT"): [f'"v=spf1 ip4:{IP} -all"'],
        ("bounces.shop.example", "MX"): ["10 mail.shop.example."],
        ("shop.example", "MX"): ["10 mail.shop.example."],
        ("mail.shop.example", "A"): [IP],
        ("m.shop.example", "A"): [IP],
        ("_dmarc.shop.example", "TXT"): ['"v=DMARC1; p=quarantine"'],
        ("e1._domainkey.shop.example", "TXT"): [f'"{dkim_keys.record_value(key.private)}"'],
        ("14.215.184.93.in-addr.arpa", "PTR"): ["mail.shop.example."],
    }


def test_the_records_are_printed_without_asking_anybody(project: Path) -> None:
    """From the settings alone: each record, ready to be published, and the rules; status 0."""
    done = check(project)
    assert done.status == 0, done.err
    for part in (
        'bounces.shop.example. IN TXT "v=spf1 a:mail.shop.example -all"',
        'e1._domainkey.shop.example. IN TXT "v=DKIM1; k=ed25519; p=',
        '_dmarc.shop.example. IN TXT "v=DMARC1; p=none; rua=mailto:dmarc@shop.example"',
        "bounces.shop.example. IN MX 10",
        "PTR",
        "One-click",
        "not needed: a logo",
        "below 0.1 %",
    ):
        assert part in done.out, part


def test_dns_is_asked_and_its_answers_judged(project: Path) -> None:
    """Status 0 when nothing is missing; 1, with the mend, when something is."""
    records = zone(project)
    with dns_server(records) as server:
        done = check(project, "--dns", "--nameserver", f"127.0.0.1:{server.port}")
    assert (done.status, done.err) == (0, ""), done.out
    assert "Nothing is missing or wrong." in done.out
    del records["e1._domainkey.shop.example", "TXT"]
    with dns_server(records) as server:
        done = check(project, "--dns", "--json", "--nameserver", f"127.0.0.1:{server.port}")
    assert done.status == 1
    (missing,) = [each for each in done.lines if each.get("verdict") == "missing"]
    assert (missing["topic"], missing["name"]) == ("DKIM", "e1._domainkey.shop.example")
    assert [each for each in map(json.dumps, done.lines) if "PRIVATE" in each] == []


def test_without_a_name_server_it_ends_with_one_sentence(project: Path) -> None:
    """Status 3 and the mend, in bounded time; no traceback."""
    with dns_server({}, broken=("",)) as server:
        done = check(project, "--dns", "--nameserver", f"127.0.0.1:{server.port}")
    assert done.status == 3
    assert done.err.startswith("anlass: No name server answers.")
    assert done.err.count("\n") == 1


WRONG = [
    (("--dns", "--nameserver", "nobody"), {}, "is not a name server"),
    (("--dns", "--nameserver", "127.0.0.1:x"), {}, "is not a name server"),
    ((), {"ANLASS_EMAIL__FROM": "", "ANLASS_EMAIL__HOST": ""}, "There is no sender yet"),
    ((), {"ANLASS_EMAIL__DKIM_ED25519_KEY_FILE": "gone.pem"}, "cannot be read"),
]


@pytest.mark.parametrize(("arguments", "env", "said"), WRONG)
def test_mistakes_are_one_sentence(project: Path, arguments: tuple[str, ...], env: dict[str, str], said: str) -> None:
    """Of the options and of the settings."""
    done = check(project, *arguments, **env)
    assert done.status == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_dns_belongs_to_deliverability(project: Path) -> None:
    """An option alone would do nothing, so it is refused."""
    done = anlass("check", project, "--dns", env={"PYTHONPATH": str(ROOT)})
    assert (done.status, "Add --deliverability" in done.err) == (2, True)
