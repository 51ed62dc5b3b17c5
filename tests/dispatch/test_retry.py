"""When a message that did not leave is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from engine.dispatch.sending.retry import DEADLINE_MS, DELAY_MS_MAX, FIRST_DELAY_MS, next_attempt_ms


def _delays(message_id: str) -> list[int]:
    delays, now_ms, attempt = [], 0, 0
    while (at_ms := next_attempt_ms(message_id, attempt, now_ms=now_ms, first_attempt_ms=0)) is not None:
        delays.append(at_ms - now_ms)
        now_ms, attempt = at_ms, attempt + 1
        assert attempt < 1_000, "it ends"
    return delays


@given(st.text(min_size=1))
def test_delays_double_to_an_hour_and_end_at_the_deadline(message_id: str) -> None:
    """15 s, 30 s, … an hour, each within a quarter of it; the sum never passes 72 hours."""
    delays = _delays(message_id)
    for attempt, delay in enumerate(delays):
        nominal = min(FIRST_DELAY_MS << attempt, DELAY_MS_MAX)
        assert nominal * 0.74 <= delay <= nominal * 1.26
    assert DEADLINE_MS - 1.26 * DELAY_MS_MAX <= sum(delays) <= DEADLINE_MS


def test_the_same_attempt_gives_the_same_delay_and_messages_differ() -> None:
    """Deterministic for a message, spread over many: no thundering herd after an outage."""
    first = {next_attempt_ms(f"m{n}", 3, now_ms=1_000, first_attempt_ms=0) for n in range(200)}
    again = {next_attempt_ms(f"m{n}", 3, now_ms=1_000, first_attempt_ms=0) for n in range(200)}
    assert first == again
    assert len(first) > 100


def test_a_providers_wish_to_wait_is_kept() -> None:
    """`Retry-After` longer than our own delay wins; a shorter one does not shorten it."""
    at_ms = next_attempt_ms("m", 0, now_ms=0, first_attempt_ms=0, retry_after_seconds=600)
    assert at_ms == 600_000
    short = next_attempt_ms("m", 5, now_ms=0, first_attempt_ms=0, retry_after_seconds=1)
    assert short == next_attempt_ms("m", 5, now_ms=0, first_attempt_ms=0)
