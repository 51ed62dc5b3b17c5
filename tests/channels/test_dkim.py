"""DKIM signatures, checked by dkimpy (and by mailauth, see test_dkim_mailauth.py) as a receiver would."""

from __future__ import annotations

import email
import email.policy
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dkim as oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from channels.contract import OutgoingMessage
from channels.mail import dkim_keys
from channels.mail.dkim import DkimKey, DkimSigner, relaxed_body
from channels.mail.email import EmailSettings, create, signer_of
from channels.mail.mime import compose, message_bytes
from tests.channels.test_mime import body_text, header_text, message
from tests.properties import examples

SENDER = "Shop <hello@shop.example>"
LINK = "https://mail.shop.example/u/t"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DkimKey]:
    folder = tmp_path_factory.mktemp("keys")
    for kind in ("rsa", "ed25519"):
        dkim_keys.make_key(folder / kind, kind=kind)
    return {
        kind: dkim_keys.load_key(str(folder / kind), kind=kind, selector=f"s-{kind}", domain="shop.example")
        for kind in ("rsa", "ed25519")
    }


def published(keys: dict[str, DkimKey]) -> Callable[..., bytes | None]:
    """DNS as a receiver asks it."""
    records = {
        f"{dkim_keys.record_name(key.selector, key.domain)}.": dkim_keys.record_value(key.private).encode()
        for key in keys.values()
    }

    def answer(name: bytes | str, timeout: int = 5) -> bytes | None:
        return records.get(name.decode() if isinstance(name, bytes) else name)

    return answer


def verdicts(content: bytes, keys: dict[str, DkimKey]) -> list[bool]:
    """What the oracle says of each signature, in their order."""
    count = content.lower().count(b"dkim-signature:")
    found = []
    for index in range(count):
        try:
            found.append(oracle.DKIM(content).verify(index, dnsfunc=published(keys)))
        except oracle.DKIMException:
            found.append(False)
    return found


def signed(delivery: OutgoingMessage, keys: dict[str, DkimKey], *names: str, eight_bit: bool = True) -> bytes:
    signer = DkimSigner([keys[name] for name in names])
    return message_bytes(compose(delivery, sender=SENDER, eight_bit=eight_bit, signer=signer).wire)


@pytest.mark.parametrize("eight_bit", [True, False])
@pytest.mark.parametrize("names", [("rsa",), ("ed25519",), ("ed25519", "rsa")])
def test_a_signed_mail_is_believed(keys: dict[str, DkimKey], names: tuple[str, ...], eight_bit: bool) -> None:
    """Each signature verifies, alone and beside the other, in 8bit and in quoted-printable."""
    content = signed(
        message(
            subject="Für Ána: " + "Leinen " * 30, to_name="Ana Ünal", reply_to="Hilfe <hilfe@shop.example>",
            html="<p>Grüße \t aus  Hamburg </p>\r\n.\r\n..\r\n", text="Grüße  \t\n.\n..\n\n\n", list_unsubscribe_url=LINK,
        ),
        keys, *names, eight_bit=eight_bit,
    )  # fmt: skip
    assert verdicts(content, keys) == [True] * len(names)
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert not parsed.defects
    assert len(parsed.get_all("DKIM-Signature", [])) == len(names)


def test_what_is_covered(keys: dict[str, DkimKey]) -> None:
    """Both unsubscribe headers, the headers people see, and the MIME headers; some are listed once more than they are there."""
    delivery = message(html="<p>x</p>", list_unsubscribe_url=LINK, headers=(("Feedback-ID", "a:b"),))
    parsed = email.message_from_bytes(signed(delivery, keys, "ed25519"))
    tags = dict(part.strip().split("=", 1) for part in parsed["DKIM-Signature"].replace("\r\n", "").split(";"))
    covered = [name.strip() for name in tags["h"].split(":")]
    headers = [name.lower() for name in parsed if name != "DKIM-Signature"]
    for name in headers:
        over = name in {"from", "subject", "to", "date", "reply-to"}
        assert covered.count(name) == headers.count(name) + over, name
    assert covered.count("reply-to") == 1  # not there, and nobody may add one
    assert {"list-unsubscribe", "list-unsubscribe-post", "feedback-id"} <= set(covered)


TAMPERED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("the body", lambda content: content.replace(b"Hello", b"Hallo")),
    ("the subject", lambda content: content.replace(b"Subject: Hi", b"Subject: Ho")),
    ("the unsubscribe link", lambda content: content.replace(b"/u/t>", b"/u/x>")),
    ("the one-click header", lambda content: content.replace(b"=One-Click", b"=No")),
    ("the type", lambda content: content.replace(b'charset="utf-8"', b'charset="latin1"')),
    ("a second From", lambda content: b"From: evil@evil.example\r\n" + content),
    ("a second Subject", lambda content: b"Subject: You won\r\n" + content),
    ("a new Reply-To", lambda content: b"Reply-To: evil@evil.example\r\n" + content),
    ("a second To", lambda content: b"To: other@shop.example\r\n" + content),
]


@pytest.mark.parametrize(("what", "tamper"), TAMPERED, ids=[what for what, _ in TAMPERED])
def test_what_is_changed_on_the_way_is_seen(
    keys: dict[str, DkimKey], what: str, tamper: Callable[[bytes], bytes]
) -> None:
    """Neither signature holds any more."""
    delivery = message(subject="Hi", text="Hello\n", list_unsubscribe_url=LINK)
    content = signed(delivery, keys, "ed25519", "rsa")
    changed = tamper(content)
    assert changed != content
    assert verdicts(changed, keys) == [False, False], what


def test_what_relays_do_to_white_space_does_no_harm(keys: dict[str, DkimKey]) -> None:
    """Refolded headers, blanks at line ends, runs of blanks and empty lines at the end."""
    content = signed(message(subject="Hello dear Ana", text="One two\nThree\n"), keys, "rsa", "ed25519")
    changed = content.replace(b"Subject: Hello dear", b"Subject:   Hello\r\n  dear")
    changed = changed.replace(b"One two\r\n", b"One \t two  \r\n") + b"\r\n\r\n"
    assert verdicts(changed, keys) == [True, True]


@settings(max_examples=examples(150))
@given(header_text, header_text, body_text, body_text | st.none(), st.booleans())
@example("", "", "", None, True)
@example("  a  b ", "x", " \n \t\n", "\t ", False)
def test_whatever_is_in_the_mail_it_verifies(
    keys: dict[str, DkimKey], subject: str, name: str, text: str, html: str | None, eight_bit: bool
) -> None:
    """Any subject, name and body that the builder takes."""
    delivery = message(subject=subject, to_name=name, text=text, html=html, list_unsubscribe_url=LINK)
    assert verdicts(signed(delivery, keys, "ed25519", eight_bit=eight_bit), keys) == [True]


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\xfc", b"."]), max_size=40).map(b"".join))
def test_the_body_is_hashed_as_the_oracle_hashes_it(body: bytes) -> None:
    """The relaxed form of any body with CRLF line ends."""
    from dkim.canonicalization import Relaxed

    ended = body if body.endswith(b"\r\n") else body + b"\r\n"  # as SMTP carries it
    assert relaxed_body(body) == Relaxed.canonicalize_body(ended)


def test_the_same_mail_is_the_same_bytes(keys: dict[str, DkimKey]) -> None:
    """A second attempt signs as the first did."""
    delivery = message(subject="Hi", list_unsubscribe_url=LINK)
    assert signed(delivery, keys, "rsa", "ed25519") == signed(delivery, keys, "rsa", "ed25519")


async def test_the_channel_signs_what_it_sends(
    keys: dict[str, DkimKey], opened: Any, smtp_double: Any, outgoing: Any, tmp_path: Path
) -> None:
    """Through a real socket; and signed anew when the server takes no 8bit after all."""
    mine = {"rsa": tmp_path / "rsa.pem", "ed25519": tmp_path / "ed.pem"}
    for kind, file in mine.items():
        dkim_keys.make_key(file, kind=kind)  # type: ignore[arg-type]  # the two names are the two kinds
    published_here = {
        kind: dkim_keys.load_key(str(file), kind=kind, selector=f"s-{kind}", domain="example.com")  # type: ignore[arg-type]
        for kind, file in mine.items()
    }
    server = smtp_double(eight_bit=False)
    told = {
        "dkim_selector": "s-rsa", "dkim_key_file": str(mine["rsa"]),
        "dkim_ed25519_selector": "s-ed25519", "dkim_ed25519_key_file": str(mine["ed25519"]),
        "dkim_domain": "example.com",
    }  # fmt: skip
    async with opened(server, **told) as channel:
        for number in range(3):
            await channel.send(outgoing(number, text="Grüße\n", html="<p>Grüße</p>"))
    assert len(server.accepted) == 3
    for one in server.accepted:
        assert verdicts(one.content, published_here) == [True, True]


WRONG: list[tuple[dict[str, str], str]] = [
    ({"dkim_selector": "s1"}, "dkim_selector and dkim_key_file together"),
    ({"dkim_key_file": "KEY"}, "dkim_selector and dkim_key_file together"),
    ({"dkim_ed25519_key_file": "KEY"}, "dkim_ed25519_selector and dkim_ed25519_key_file together"),
    ({"dkim_selector": "s1", "dkim_key_file": "/nowhere/key.pem"}, "cannot be read"),
    ({"dkim_selector": "s1", "dkim_key_file": "EMPTY"}, "no private key"),
    ({"dkim_selector": "s1", "dkim_key_file": "ED"}, "no RSA key"),
    ({"dkim_ed25519_selector": "s1", "dkim_ed25519_key_file": "KEY"}, "no Ed25519 key"),
    ({"dkim_selector": "s 1", "dkim_key_file": "KEY"}, "names as they stand in DNS"),
    ({"dkim_selector": "s1", "dkim_key_file": "KEY", "dkim_domain": "other.example"}, "DMARC does not take"),
    ({"dkim_selector": "s1", "dkim_key_file": "SHORT"}, "512 bits|768 bits|key of"),
    ({"dkim_domain": "shop.example"}, "no key signs"),
    (
        {
            "dkim_selector": "s1",
            "dkim_key_file": "KEY",
            "dkim_ed25519_selector": "S1",
            "dkim_ed25519_key_file": "ED",
        },
        "one selector for two",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("told", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_wrong_settings_are_refused_at_the_start(tmp_path: Path, told: dict[str, str], sentence: str) -> None:
    """One sentence with the mend, before anything is sent."""
    dkim_keys.make_key(tmp_path / "KEY", kind="rsa")
    dkim_keys.make_key(tmp_path / "ED", kind="ed25519")
    (tmp_path / "EMPTY").write_bytes(b"")
    _short_key(tmp_path / "SHORT")
    there = {name: str(tmp_path / value) if (tmp_path / value).exists() else value for name, value in told.items()}
    with pytest.raises(ValueError, match=sentence):
        create({"host": "127.0.0.1", "from": SENDER, **there})


def _short_key(file: Path) -> None:
    import subprocess

    # Written by openssl: `cryptography` makes no key that short.
    subprocess.run(["openssl", "genrsa", "-out", str(file), "768"], check=True, capture_output=True)


def test_the_key_of_another_program_is_read(tmp_path: Path) -> None:
    """Ed25519 as 32 bytes in base64, which dkimpy's own tool writes; and no key means no signature."""
    import base64

    (tmp_path / "k").write_bytes(base64.b64encode(b"\1" * 32) + b"\n")
    key = dkim_keys.load_key(str(tmp_path / "k"), kind="ed25519", selector="s", domain="Shop.example")
    assert (key.algorithm, key.domain) == ("ed25519-sha256", "shop.example")
    assert signer_of(EmailSettings(host="h", from_=SENDER)) is None


@settings(max_examples=examples(200))
@given(data=st.binary(max_size=300))
@example(data=b"-----BEGIN PRIVATE KEY-----\n")
@example(data=b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n")
def test_no_file_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever is in it: a key or a ValueError."""
    file = tmp_path_factory.getbasetemp() / "any.pem"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="holds no"):
        dkim_keys.load_key(str(file), kind="rsa", selector="s", domain="shop.example")


def test_a_made_key_is_its_owners_alone(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, and never written over."""
    before = os.umask(0)
    try:
        dkim_keys.make_key(tmp_path / "k.pem", kind="rsa")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k.pem").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        dkim_keys.make_key(tmp_path / "k.pem", kind="rsa")


ALIGNED = [
    ("shop.example", "shop.example", True),
    ("shop.example", "mail.shop.example", True),
    ("mail.shop.example", "shop.example", True),
    ("a.shop.example", "b.shop.example", True),
    ("Shop.Example.", "shop.example", True),
    ("shop.example", "shops.example", False),
    ("example", "shop.example", False),
    ("shop.co.uk", "other.co.uk", False),
    ("a.shop.co.uk", "b.shop.co.uk", True),
    ("esp.example", "shop.example", False),
]


@pytest.mark.parametrize(("signing", "sender", "yes"), ALIGNED)
def test_alignment_is_that_of_organisations(signing: str, sender: str, yes: bool) -> None:
    """Relaxed alignment, with names of registries shared by strangers."""
    assert dkim_keys.aligned(signing, sender) is yes
