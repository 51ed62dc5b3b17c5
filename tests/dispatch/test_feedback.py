"""What an adapter answered, as a settlement and as records of the customer."""

import pytest

from channels.contract import PermanentError, Receipt, TransientError, UnknownOutcome, Unsupported, Verdict
from engine.core.message import Message
from engine.core.record import Outcome, Pause
from engine.dispatch.ports import Pending
from engine.dispatch.sending.feedback import settle
from engine.dispatch.sending.retry import DEADLINE_MS

NOW_MS = 1_700_000_000_000


def _pending(**fields: int) -> Pending:
    message = Message(
        id="a" * 32, customer="c1", enrollment="w/c1/1", workflow="w", version="v", step="s", channel="email",
        address="ana@example.com", template="t", purpose="marketing", decided_ms=NOW_MS, due_ms=NOW_MS,
    )  # fmt: skip
    return Pending(message=message, **fields)


def test_a_receipt_is_sent_and_raises_no_record() -> None:
    """Acceptance is the ledger's business; a customer hears of delivery by outcomes."""
    settlement = settle(_pending(), Receipt("250-id", "2.0.0 ok"), now_ms=NOW_MS)
    assert (settlement.status, settlement.provider_id, settlement.records) == ("sent", "250-id", ())


def test_a_refusal_for_the_moment_is_tried_again_later() -> None:
    """The message stays pending, with the reason and the time of the next attempt."""
    settlement = settle(_pending(), TransientError("greylisted", code="450 4.2.0"), now_ms=NOW_MS)
    assert settlement.status == "pending"
    assert settlement.code == "450 4.2.0"
    assert settlement.not_before_ms > NOW_MS


def test_after_the_deadline_a_refusal_for_the_moment_is_a_soft_bounce() -> None:
    """It counts against the address without suppressing it."""
    pending = _pending(attempt=50, first_attempt_ms=NOW_MS - DEADLINE_MS)
    settlement = settle(pending, TransientError("mailbox busy", code="450 4.2.0"), now_ms=NOW_MS)
    assert settlement.status == "failed"
    (outcome,) = settlement.records
    assert isinstance(outcome, Outcome)
    assert (outcome.outcome, outcome.detail["verdict"]) == ("bounced", "soft")


@pytest.mark.parametrize(
    ("verdict", "kind"), [(Verdict.SUPPRESS, "bounced"), (Verdict.SOFT, "bounced"), (Verdict.MESSAGE, "failed")]
)
def test_a_refusal_for_good_fails_and_tells_the_customers_history(verdict: Verdict, kind: str) -> None:
    """What it means for the address travels with the outcome."""
    settlement = settle(_pending(), PermanentError("no", code="550 5.1.1", address_verdict=verdict), now_ms=NOW_MS)
    assert settlement.status == "failed"
    (outcome,) = settlement.records
    assert isinstance(outcome, Outcome)
    assert (outcome.outcome, outcome.detail["verdict"]) == (kind, str(verdict))


def test_our_own_fault_pauses_the_workflow_and_suppresses_nobody() -> None:
    """5.7.1 says our sender is not wanted: the campaign stops, the address is not to blame."""
    answer = PermanentError("policy", code="550 5.7.1", address_verdict=Verdict.OUR_FAULT)
    outcome, pause = settle(_pending(), answer, now_ms=NOW_MS).records
    assert isinstance(outcome, Outcome)
    assert outcome.outcome == "failed"
    assert isinstance(pause, Pause)
    assert (pause.workflow, pause.paused) == ("w", True)


def test_what_a_channel_cannot_do_fails_the_message() -> None:
    """Said, not dropped."""
    settlement = settle(_pending(), Unsupported("attachments"), now_ms=NOW_MS)
    assert settlement.status == "failed"
    assert "attachments" in settlement.reason


def test_an_unknown_outcome_stays_unknown_unless_the_purpose_allows_resending() -> None:
    """Marketing keeps it; transactional may be sent again, a bounded number of times."""
    lost = UnknownOutcome("connection lost after the final dot")
    assert settle(_pending(), lost, now_ms=NOW_MS).status == "unknown"
    assert settle(_pending(), lost, now_ms=NOW_MS, resend_unknown=True).status == "pending"
    assert settle(_pending(attempt=2), lost, now_ms=NOW_MS, resend_unknown=True).status == "unknown"


def test_a_providers_words_are_kept_as_far_as_they_can_be_stored() -> None:
    """A lone surrogate, as bytes that are not UTF-8 may be decoded to, would keep the answer from being recorded."""
    receipt = settle(_pending(), Receipt("id\udc80", "ok \udcff" + "x" * 1_000), now_ms=NOW_MS)
    assert (receipt.provider_id, receipt.reason[:5], len(receipt.reason)) == ("id?", "ok ?x", 300)
    refused = PermanentError("no \udc80", code="550", address_verdict=Verdict.SUPPRESS)
    settlement = settle(_pending(), refused, now_ms=NOW_MS)
    (outcome,) = settlement.records
    assert isinstance(outcome, Outcome)
    assert (settlement.reason, outcome.detail["reason"]) == ("no ?", "no ?")
