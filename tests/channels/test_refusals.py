"""The one judge, held against what servers say: whoever is gone is found, and nobody else is taken for gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.contract import PermanentError, Verdict
from channels.delivery import classify_reply
from channels.refusals.judge import Refusal, folded, judge, of_words
from channels.refusals.receivers import RECEIVERS
from tests.channels.refusals import OTHERS, PERMANENT


def _verdict(line: str, *, status: str = "") -> Verdict:
    reported, _, words = line.partition(" ")
    return judge(Refusal(words=words, status=status or reported)).verdict


@pytest.mark.parametrize("line", PERMANENT)
def test_who_is_gone_is_found(line: str) -> None:
    """In the words of the large receivers, whatever Status the reporting server gave."""
    assert _verdict(line) is Verdict.SUPPRESS
    if line.partition(" ")[2]:
        assert _verdict(line, status="5.0.0") is Verdict.SUPPRESS


@pytest.mark.parametrize("line", OTHERS)
def test_nobody_else_is_taken_for_gone(line: str) -> None:
    """Quota, limits, lists, content, passing faults: never, though another server reports 5.1.1."""
    assert _verdict(line) is not Verdict.SUPPRESS
    if line.partition(" ")[2]:
        assert _verdict(line, status="5.1.1") is not Verdict.SUPPRESS


def test_the_code_of_who_refused_wins() -> None:
    """It is also the one that is kept."""
    found = judge(Refusal(words="552 5.2.2 Over quota", status="5.1.1"))
    assert (found.code, found.verdict, found.by_words) == ("552 5.2.2", Verdict.SOFT, True)


@pytest.mark.parametrize("text", ["5.7.1 Relay access denied", "5.7.1 relaying denied", "5.7.1 Unable to relay"])
def test_our_own_relay_that_refuses_us_suppresses_nobody(text: str) -> None:
    """From the server that we hand our mail to it is about our login; from the recipient's, about its domain."""
    error = classify_reply(554, text, phase="rcpt")
    assert isinstance(error, PermanentError)
    assert error.address_verdict is Verdict.OUR_FAULT
    assert judge(Refusal(words=f"554 {text}")).verdict is Verdict.SUPPRESS


def test_after_the_content_a_vague_word_is_not_about_the_address() -> None:
    """`mailbox unavailable` in the answer to RCPT means the address, after the content it may mean a filter."""
    verdicts = [classify_reply(550, "mailbox unavailable", phase=phase) for phase in ("rcpt", "data")]
    assert [getattr(error, "address_verdict", None) for error in verdicts] == [Verdict.SUPPRESS, Verdict.SOFT]


def test_the_names_of_servers_are_no_words() -> None:
    """A host called spamfilter, an address called full: neither says anything."""
    words = "host mx.spamfilter.example[203.0.113.9] said: 550 5.1.1 <full@quota.example>: User unknown"
    assert judge(Refusal(words=words)).verdict is Verdict.SUPPRESS


def test_every_receiver_has_words_of_its_own() -> None:
    """The table has no double and no empty entry."""
    assert len(RECEIVERS) >= 20
    assert len({receiver.name for receiver in RECEIVERS}) == len(RECEIVERS)
    assert all(receiver.rules for receiver in RECEIVERS)


@given(st.text(max_size=400), st.text(max_size=20), st.integers(0, 599), st.booleans())
def test_the_judge_never_raises(words: str, status: str, reply: int, direct: bool) -> None:
    """Whatever is said: one verdict, and a code that is short."""
    found = judge(Refusal(words=words, status=status, reply=reply, direct=direct))
    assert isinstance(found.verdict, Verdict)
    assert len(found.code) < 20
    assert of_words(words) is None or isinstance(of_words(words), Verdict)


@pytest.mark.parametrize(
    "piece", ["a-", "user ", "user <", ".", "((", "not ", "550 5.1.1 ", "x@y.", "mailbox is ", "host a.b "]
)
def test_long_and_odd_words_take_no_time(piece: str) -> None:
    """Nobody can keep the judge busy: a megabyte of it is cut, and no expression goes back and forth."""
    words = piece * (1_000_000 // len(piece))
    assert isinstance(judge(Refusal(words=words)).verdict, Verdict)
    assert len(folded(words[:2_000])[0]) <= 4_000
