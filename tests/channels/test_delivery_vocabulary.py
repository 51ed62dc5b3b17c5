"""The words for what became of a message, and what SMTP replies mean."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.contract import PermanentError, TransientError, Verdict
from channels.delivery import RANK, DeliveryOutcome, advance, classify_reply, enhanced_status, without_addresses


@given(st.lists(st.sampled_from(DeliveryOutcome), max_size=12))
def test_a_state_never_moves_backwards(news: list[DeliveryOutcome]) -> None:
    """Whatever arrives in whatever order, the rank only grows."""
    state: DeliveryOutcome | None = None
    for outcome in news:
        before = state
        state = advance(state, outcome)
        assert before is None or RANK[state] >= RANK[before]


def test_the_order_of_arrival_does_not_matter() -> None:
    """Provider callbacks come out of order; the end is the same."""
    for order in permutations(
        [
            DeliveryOutcome.SENT,
            DeliveryOutcome.DEFERRED,
            DeliveryOutcome.DELIVERED,
            DeliveryOutcome.OPENED,
            DeliveryOutcome.COMPLAINED,
        ]
    ):
        state: DeliveryOutcome | None = None
        for outcome in order:
            state = advance(state, outcome)
        assert state is DeliveryOutcome.COMPLAINED


def test_our_own_answers_exclude_each_other() -> None:
    """Sent stays sent, failed stays failed; unknown may be resolved; a bounce overrides a delivery."""
    assert advance(DeliveryOutcome.SENT, DeliveryOutcome.FAILED) is DeliveryOutcome.SENT
    assert advance(DeliveryOutcome.FAILED, DeliveryOutcome.SENT) is DeliveryOutcome.FAILED
    assert advance(DeliveryOutcome.SENT, DeliveryOutcome.UNKNOWN) is DeliveryOutcome.SENT
    assert advance(DeliveryOutcome.UNKNOWN, DeliveryOutcome.SENT) is DeliveryOutcome.SENT
    assert advance(DeliveryOutcome.DELIVERED, DeliveryOutcome.BOUNCED) is DeliveryOutcome.BOUNCED
    assert advance(DeliveryOutcome.BOUNCED, DeliveryOutcome.DELIVERED) is DeliveryOutcome.BOUNCED


def test_every_outcome_has_a_rank() -> None:
    """None can be forgotten."""
    assert set(RANK) == set(DeliveryOutcome)


VERDICTS = [
    (550, "5.1.1 no such user", Verdict.SUPPRESS),
    (550, "5.1.2 no such domain", Verdict.SUPPRESS),
    (550, "5.1.6 moved", Verdict.SUPPRESS),
    (556, "5.1.10 null MX", Verdict.SUPPRESS),
    (552, "5.2.2 full", Verdict.SOFT),
    (550, "5.2.1 disabled", Verdict.SOFT),
    (550, "5.7.1 blocked", Verdict.OUR_FAULT),
    (550, "5.7.26 unauthenticated", Verdict.OUR_FAULT),
    (550, "5.7.515 unauthenticated", Verdict.OUR_FAULT),
    (530, "log in first", Verdict.OUR_FAULT),
    (503, "bad sequence", Verdict.OUR_FAULT),
    (552, "5.3.4 too big", Verdict.MESSAGE),
    (550, "5.5.0 mailbox unavailable", Verdict.SUPPRESS),
    (550, "5.5.1 what?", Verdict.OUR_FAULT),
    (550, "5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup", Verdict.SOFT),
    (550, "5.7.124 not in the list of allowed senders", Verdict.SOFT),
    (550, "SC-001 messages from 192.0.2.1 weren't sent, part of their network is on our block list", Verdict.OUR_FAULT),
    (554, "refused, see https://www.spamhaus.org/query/ip/192.0.2.1", Verdict.OUR_FAULT),
    (550, "5.0.0 our system has detected that this message is likely unsolicited mail", Verdict.OUR_FAULT),
    (550, "5.1.1 no such user, by the way we use spamhaus", Verdict.SUPPRESS),
    (550, "mailbox of Barbara Spfann is full", Verdict.SOFT),
    (554, "5.6.0 content", Verdict.MESSAGE),
    (550, "mailbox unavailable", Verdict.SUPPRESS),
    (554, "transaction failed, see https://1.2.3.4/", Verdict.SOFT),
    (550, "4.2.2 confused server", Verdict.SOFT),
]


@pytest.mark.parametrize(("code", "text", "verdict"), VERDICTS)
def test_a_permanent_refusal_blames_the_right_one(code: int, text: str, verdict: Verdict) -> None:
    """Only what is certainly about the address suppresses it."""
    error = classify_reply(code, text, phase="rcpt")
    assert isinstance(error, PermanentError)
    assert error.address_verdict is verdict


@pytest.mark.parametrize(
    ("code", "text", "throttle"),
    [
        (421, "bye", "domain"),
        (421, "4.3.2 bye", "domain"),
        (450, "4.7.0 slow", "domain"),
        (451, "4.7.650 slow", "domain"),
        (450, "4.2.0 later", None),
        (451, "later", None),
        (452, "4.3.1 disk", None),
    ],
)
def test_a_temporary_refusal_throttles_only_when_asked(code: int, text: str, throttle: str | None) -> None:
    """421 and 4.7.x slow the destination domain down."""
    error = classify_reply(code, text, phase="rcpt")
    assert isinstance(error, TransientError)
    assert error.throttle == throttle


@pytest.mark.parametrize("text", ["5.1.1 unknown", "5.2.2 full", "denied"])
def test_a_refused_sender_is_never_the_recipients_fault(text: str) -> None:
    """MAIL FROM names only us."""
    error = classify_reply(550, text, phase="mail")
    assert isinstance(error, PermanentError)
    assert error.address_verdict is Verdict.OUR_FAULT


@given(st.integers(400, 599), st.text(max_size=600), st.sampled_from(["mail", "rcpt", "data"]))
def test_every_refusal_becomes_one_error(code: int, text: str, phase: str) -> None:
    """Fuzzed: 4xx is transient, 5xx permanent, and delays are bounded."""
    error = classify_reply(code, text, phase=phase)  # type: ignore[arg-type]  # drawn from the three
    assert isinstance(error, TransientError if code < 500 else PermanentError)
    assert error.code.startswith(str(code))
    assert len(error.reason) < 700
    if isinstance(error, TransientError) and error.retry_after_seconds is not None:
        assert 0 <= error.retry_after_seconds <= 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4.2.0 Greylisted for 300 seconds", 300),
        ("please try again in 5 minutes", 300),
        ("retry after 1 hour", 3600),
        ("wait 99999 hours", 86_400),
        ("try again later", None),
        ("error 450 from 10.0.0.1", None),
    ],
)
def test_a_named_delay_is_read(text: str, seconds: float | None) -> None:
    """Greylisting in prose."""
    error = classify_reply(451, text, phase="rcpt")
    assert isinstance(error, TransientError)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("text", "status"),
    [("5.1.1 x", "5.1.1"), ("x", None), ("10.5.1.1 x", None), ("5.7.515 x", "5.7.515"), ("mx2.5.1.1.x", None)],
)
def test_enhanced_status(text: str, status: str | None) -> None:
    """Found where it stands, and not inside an IP address."""
    assert enhanced_status(text) == status


def test_addresses_are_masked() -> None:
    """In every form servers write them."""
    text = without_addresses("<ana@example.com>: jörg+x@bücher.example (ana@example.com) rejected")
    assert "@" not in text
    assert "rejected" in text
