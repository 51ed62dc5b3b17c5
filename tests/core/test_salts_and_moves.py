"""Ids that an erasure changes, consent that needs an address, names that are none, and changes of address in the core."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.core.catalog import Catalog, Interest
from engine.core.customer import CustomerState, decode_state, encode_state
from engine.core.effect import Append, Decision, Dispatch
from engine.core.evaluate import evaluate
from engine.core.facts import moving, naming
from engine.core.journey.workflow import EventMatch, Send, Trigger, Workflow
from engine.core.message import is_of, message_id, salt_of
from engine.core.policy import Policy, Purpose
from engine.core.record import Absorb, Consent, Erase, Event, Identify, Merge, Record, Timer
from engine.core.time.schedule import parse_duration

T0 = 1_774_600_000_000
HOUR_MS = 3_600_000
MAIL = Workflow(
    name="w", version="v", purpose="transactional", trigger=Trigger(matches=(EventMatch("Go"),)), first="m",
    ops={"m": Send(id="m", channels=("email",), template="t", purpose="transactional")},
)  # fmt: skip


def catalog(wait: str = "24h") -> Catalog:
    return Catalog(
        id="c", workflows={"w": MAIL}, versions={("w", "v"): MAIL}, segments={},
        policy=Policy(
            purposes={
                "transactional": Purpose("transactional", "none"),
                "marketing": Purpose("marketing", "opt_in", ("email",)),
                "profiling": Purpose("profiling", "opt_in"),
            },
            address_change_wait=parse_duration(wait),
        ),
        interests={"Go": Interest(triggers=("w",))},
    )  # fmt: skip


def run(
    records: list[Record], state: CustomerState | None = None, *, wait: str = "24h"
) -> tuple[CustomerState | None, list[Any]]:
    effects: list[Any] = []
    for record in records:
        state, more = evaluate(catalog(wait), state, record)
        effects += more
    return state, effects


def identify(at_ms: int = T0, **traits: Any) -> Identify:
    return Identify(customer="c1", at_ms=at_ms, id=f"i{at_ms}{sorted(traits)}", time_ms=at_ms, traits=traits)


def event(name: str, at_ms: int = T0, **properties: Any) -> Event:
    key = f"{name}{at_ms}{properties}"
    return Event(customer="c1", at_ms=at_ms, id=key, name=name, time_ms=at_ms, properties=properties)


def refused(effects: list[Any]) -> list[str]:
    return [each.detail["trait"] for each in effects if isinstance(each, Decision) and each.kind == "trait_refused"]


def sent(effects: list[Any]) -> list[str]:
    return [each.message.id for each in effects if isinstance(each, Dispatch)]


def test_ids_of_messages_differ_after_an_erasure_and_are_the_same_in_a_replay() -> None:
    """The same order of the same customer, forgotten in between."""
    first: list[Record] = [identify(email="a@b.example"), event("Go")]
    again: list[Record] = [identify(T0 + 9, email="a@b.example"), event("Go", T0 + 9)]
    records: list[Record] = [*first, Erase(customer="c1", at_ms=T0 + 5, id="e"), *again]
    state, effects = run(records)
    ids = sent(effects)
    assert len(set(ids)) == 2
    assert sent(run(records)[1]) == ids
    assert state is not None
    assert [is_of(state.salts, each) for each in ids] == [False, True]


def test_a_customer_of_before_keeps_their_ids() -> None:
    """A state without a salt: what an earlier version would have decided."""
    state = CustomerState(id="c1", first_seen_ms=T0, traits={"email": "a@b.example"})
    stored = decode_state(msgspec.msgpack.encode(msgspec.msgpack.decode(encode_state(state))[:25]))
    assert stored.salts == ()
    _, effects = run([event("Go")], stored)
    assert sent(effects) == [message_id("w/c1/1", "m", 0)]
    assert is_of((), "anything")


def test_a_merge_knows_the_messages_of_both() -> None:
    """And of nobody else."""
    one, effects = run([identify(email="a@b.example"), event("Go")])
    (theirs,) = sent(effects)
    assert one is not None
    _, moved = evaluate(catalog(), one, Merge(customer="c1", at_ms=T0 + 1, id="m", into="c2"))
    absorb = next(each.record for each in moved if isinstance(each, Append) and isinstance(each.record, Absorb))
    known, _ = evaluate(catalog(), None, Identify(customer="c2", at_ms=T0, id="x", time_ms=T0, traits={"a": 1}))
    joined, _ = evaluate(catalog(), known, absorb)
    assert joined is not None
    assert is_of(joined.salts, theirs)
    assert not is_of(joined.salts, message_id("w/c1/1", "m", 0, salt=salt_of("c1", T0 + 77, "y")))


@pytest.mark.parametrize("trait", ["consent", "consent_request"])
@pytest.mark.parametrize("channel", ["email", "newsletter", "sms", "whatsapp", "voice"])
def test_consent_without_an_address_is_stored_nowhere(trait: str, channel: str) -> None:
    """It would be that of the next address, whoever's it is; with the address, or after it, it counts."""
    traits: dict[str, Any] = {trait: {"marketing": [channel]}}
    state, effects = run([identify(**traits)])
    assert state is not None
    assert (state.consent, refused(effects)) == ({}, ["consent"])
    state, _ = run([identify(T0 + 1, email="s@b.example", phone="+4915112345678")], state)
    assert state is not None
    assert state.consent == {}
    state, _ = run([identify(T0 + 2, **traits)], state)
    assert state is not None
    assert state.consent["marketing"][channel].address


@pytest.mark.parametrize("source", ["link", "form", "operator", "import", "shop"])
def test_a_yes_without_an_address_comes_in_by_no_way(source: str) -> None:
    """Records of every source; a no is kept."""
    known, _ = run([identify(first_name="A")])
    for action in ("grant", "confirm", "request", "withdraw"):
        said = Consent(
            customer="c1", at_ms=T0 + 1, id=f"s{action}", time_ms=T0 + 1, action=action, purposes={"marketing": ["email"]},
            source=source,
        )  # fmt: skip
        state, effects = evaluate(catalog(), known, said)
        assert state is not None
        assert bool(state.consent) == (action == "withdraw")
        ledger = [each for each in effects if isinstance(each, Decision) and each.kind == "consent"]
        assert bool(ledger) == (action == "withdraw")
    assert evaluate(catalog(), None, said)[0] is None or source != "link"


def test_what_needs_no_address_is_consented_to_without_one() -> None:
    """Being profiled, say."""
    state, _ = run([identify(consent={"profiling": ["profile"]})])
    assert state is not None
    assert state.consent["profiling"]["profile"].status == "granted"


NO_NAMES = [
    "https://evil.example", "You won: http://evil.example/x", "www.evil.example", "WWW . evil.example", "evil.example",
    "Ana evil.com", "bit.ly/x", "t.me/abc", "evil。com", "evil．com", "ev\u200bil.com", "h\u200bttps://x", "//x: //y hxxp://a.b",
    "javascript:alert(1)", "mailto:a@b.example", "a@b.example", "1.2.3.4", "Ana\nhttps://x.example", "EVIL.COM", "münchen.de",
    "https:evil.example", "ｈｔｔｐｓ：／／evil",
]  # fmt: skip
NAMES = [
    "Ana", "Anna-Lena", "O'Brien", "St. John", "Dr.Weiss", "J.R.R. Tolkien", "Martin Luther King Jr.", "van der Berg", "Ph.D",
    "Søren", "Ó Súilleabháin", "李小龍", "Maria d. S.", "Ana & Ben", "Müller-Lüdenscheidt", "", "Mary.", "A. B. Cee", "3:16",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_NAMES)
def test_an_address_of_the_web_is_no_name(text: str) -> None:
    """Whatever it is hidden by; the name of before stays, and the rest of the call counts."""
    assert not naming.is_name(text)
    state, effects = run([identify(first_name="Ana"), identify(T0 + 1, first_name=text, city="Görlitz")])
    assert state is not None
    assert state.traits == {"first_name": "Ana", "city": "Görlitz"}
    assert refused(effects) == ["first_name"]


@pytest.mark.parametrize("text", NAMES)
def test_names_of_people_are_names(text: str) -> None:
    """With titles, initials, hyphens, in every script."""
    assert naming.is_name(text)


def test_an_address_takes_effect_by_its_own_timer_and_only_once() -> None:
    """The due time is the state's, so a restart or another worker keeps it."""
    state, _ = run([identify(email="old@b.example"), event(moving.ASKED, email="new@b.example")])
    assert state is not None
    (change,) = state.changes
    assert state.next_due_ms == 0
    state, _ = run([event(moving.CONFIRMED, T0 + HOUR_MS, change=change.id)], state)
    assert state is not None
    assert state.next_due_ms == T0 + 24 * HOUR_MS
    again = decode_state(encode_state(state))
    state, _ = run([Timer(customer="c1", at_ms=T0 + 24 * HOUR_MS, due_ms=T0 + 24 * HOUR_MS)], again)
    assert state is not None
    assert (state.traits["email"], state.next_due_ms) == ("new@b.example", 0)


@pytest.mark.parametrize("wait", ["0s", "2d"])
def test_the_policy_says_how_long_the_old_address_has(wait: str) -> None:
    """Also nothing at all; and who has no address has nobody to wait for."""
    state, _ = run([identify(email="old@b.example"), event(moving.ASKED, email="new@b.example")])
    assert state is not None
    state, _ = run([event(moving.CONFIRMED, T0 + 1, change=state.changes[0].id)], state, wait=wait)
    assert state is not None
    assert (state.traits["email"] == "new@b.example") == (wait == "0s")
    state, _ = run([identify(first_name="A"), event(moving.ASKED, email="new@b.example")])
    assert state is not None
    state, _ = run([event(moving.CONFIRMED, T0 + 1, change=state.changes[0].id)], state, wait=wait)
    assert state is not None
    assert state.traits["email"] == "new@b.example"
