"""Bounces of real servers, as public libraries collected them, against what is written down here.

Invariant: no mail of the corpus suppresses an address unless it is named in HARD; what we see
otherwise than flufl.bounce is listed with the reason.
"""

from __future__ import annotations

import email
import importlib.util
from collections import Counter
from pathlib import Path

import pytest
from flufl.bounce import all_failures

from channels.bounces import Kind, Understood, understand
from engine.errors import ServiceUnreachable
from tests.channels.returned_mails import MARKS, MESSAGE, RETURN_PATH
from tests.services.bounce_mails import bounce_mails

COUNTS = {
    ("status", "hard"): 5,
    ("status", "soft"): 6,
    ("status", "deferred"): 5,
    ("status", "our_fault"): 1,
    ("words", "hard"): 41,
    ("words", "soft"): 46,
    ("words", "deferred"): 6,
    ("words", "message"): 2,
    ("automatic", "automatic"): 1,
    ("other", "other"): 4,
}
HARD = {
    # delivery reports: 5.1.1, and a server that says "unknown" itself
    *("dsn_10", "dsn_11", "dsn_12", "dsn_13", "dsn_14", "dsn_16"),
    # words in which the server says that there is no such user or domain
    *("bounce_02", "exim_01", "groupwise_01", "groupwise_02", "microsoft_01", "microsoft_04"),
    *("postfix_01", "qmail_03", "qmail_04", "qmail_05"),
    *(
        "simple_04",
        "simple_05",
        "simple_06",
        "simple_08",
        "simple_13",
        "simple_15",
        "simple_19",
        "simple_23",
        "simple_25",
    ),
    *(
        "simple_26",
        "simple_27",
        "simple_29",
        "simple_30",
        "simple_33",
        "simple_34",
        "simple_36",
        "simple_39",
        "simple_41",
    ),
    *("simple_43", "smtp32_04", "smtp32_06"),
    *("yahoo_03", "yahoo_05", "yahoo_06", "yahoo_07", "yahoo_08", "yahoo_09", "yahoo_10", "yahoo_11", "yahoo_13"),
}
OTHERWISE = {  # what flufl.bounce says, what we say, and why
    "simple_43": (
        "none",
        "permanent",
        "its text is of no known form, and yet it says from a machine that delivery failed",
    ),
    "simple_20": ("permanent", "none", "nothing says that a machine wrote this `RE: …`"),
}
OF_PYTHON = {"msg_16": "soft", "msg_25": "soft", "msg_43": "our_fault"}
"""Python's own examples for the email package: the delivery reports and the bounce among them."""


@pytest.fixture(scope="module")
def mails(outside: None) -> dict[str, bytes]:
    """Name → mail; skips when they cannot be had."""
    try:
        folder = bounce_mails()
    except ServiceUnreachable as error:
        pytest.skip(str(error))
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.txt"))}


@pytest.fixture(scope="module")
def read(mails: dict[str, bytes]) -> dict[str, Understood]:
    """What each of them is understood to say about one message of ours."""
    return {name: understand(raw, envelope_to=[RETURN_PATH], marks=MARKS) for name, raw in mails.items()}


def test_each_class_has_its_number(read: dict[str, Understood]) -> None:
    """A change of the reader that moves one mail to another class is seen here."""
    assert Counter((str(each.kind), each.label) for each in read.values()) == COUNTS


def test_only_who_does_not_exist_is_suppressed(read: dict[str, Understood]) -> None:
    """The mails that suppress an address are these; every other permanent failure counts as a soft bounce."""
    assert {name for name, each in read.items() if each.label == "hard"} == HARD


def test_every_bounce_names_its_message(read: dict[str, Understood]) -> None:
    """All that are bounces become a report about the message of the return path, without an address in it."""
    for name, each in read.items():
        if each.kind in {Kind.STATUS, Kind.WORDS}:
            assert each.report is not None, name
            assert (each.report.message, each.proven) == (MESSAGE, True), name
            assert "@" not in str(each.report.detail), name
        else:
            assert each.report is None, name


def test_where_we_see_it_otherwise_than_flufl_bounce(mails: dict[str, bytes], read: dict[str, Understood]) -> None:
    """Whether a mail is a bounce at all, and whether delivery ended: the differences are those written down."""
    found = {}
    for name, each in read.items():
        temporary, permanent = all_failures(email.message_from_bytes(mails[name]))
        theirs = "permanent" if permanent else "temporary" if temporary else "none"
        ours = "temporary" if each.label == "deferred" else "permanent" if each.report is not None else "none"
        if theirs != ours:
            found[name] = (theirs, ours)
    assert found == {name: (theirs, ours) for name, (theirs, ours, _) in OTHERWISE.items()}


def test_half_a_mail_never_suppresses_more(mails: dict[str, bytes], read: dict[str, Understood]) -> None:
    """Cut off anywhere, no mail that speaks of something else than the address becomes hard."""
    for name, raw in mails.items():
        if name not in HARD and read[name].label != "soft":  # of an unclear one the clear words may be all that is left
            for part in (4, 3, 2):
                cut = understand(raw[: len(raw) * (part - 1) // part], envelope_to=[RETURN_PATH], marks=MARKS)
                assert cut.label != "hard", (name, part)


def test_pythons_own_examples() -> None:
    """Ordinary mails are not bounces; the delivery reports among them are."""
    spec = importlib.util.find_spec("test.test_email")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("this Python came without its tests (Debian and Ubuntu: apt install libpython3-testsuite)")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    files = sorted(folder.glob("msg_*.txt"))
    assert len(files) > 40
    found = {path.stem: understand(path.read_bytes()).label for path in files}
    assert {name: label for name, label in found.items() if label != "other"} == OF_PYTHON
