"""The consent ledger: what becomes an entry, for which address consent counts, and what a message rests on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.consent.may_send import normal_address
from engine.core.consent.proof import ConsentRecord, records_of, standing
from tests.core.stage import Play, workflow
from tests.core.test_sending_consent import asked, consented

NEWS = {"marketing": ["email"]}


def ledger(play: Play) -> list[ConsentRecord]:
    """All entries, in the order of the journal."""
    return [record for decision in play.decisions("consent") for record in records_of(decision)]


def test_a_double_opt_in_is_two_entries_and_the_message_cites_the_second() -> None:
    """Asked for, then confirmed: with the words, the zone, and when it had been asked for."""
    play = consented()
    proof = {"wording": "News by mail?", "wording_version": "3", "form": "/signup", "ip": "192.0.2.1"}
    play.identify("1s", consent_request=NEWS, consent_proof=proof)
    confirmed = {"wording": "Yes", "zone": "Europe/Berlin", "user_agent": "Browser/1"}
    play.consent("1m", "confirm", NEWS, source="link", proof=confirmed)
    requested, given_ = ledger(play)
    assert (requested.action, requested.address, requested.proof) == ("request", "a@b.example", proof)
    assert (given_.action, given_.proof, given_.source) == ("confirm", confirmed, "link")
    assert given_.requested_ms == requested.at_ms == play.at_ms("1s")
    assert asked(play, "2m") == "queued"
    assert play.messages[-1].consent.endswith(f", record {given_.id}")
    assert play.lines("send")
    assert given_.id in play.details("send")[-1]["basis"]


def test_consent_counts_only_for_the_address_it_was_given_for() -> None:
    """Another address needs a new opt-in; written in capitals it is the same address."""
    play = consented()
    play.identify("1s", consent=NEWS)
    assert asked(play, "2s") == "queued"
    play.identify("3s", email="A@B.example")
    assert asked(play, "4s") == "queued"
    play.identify("5s", email="other@b.example")
    assert asked(play, "6s") == "suppressed no_consent"
    play.identify("7s", consent_request=NEWS)
    assert asked(play, "8s") == "suppressed no_consent"
    play.consent("9s", "confirm", NEWS)
    assert asked(play, "10s") == "queued"
    assert [(one.action, one.address) for one in ledger(play)] == [
        ("grant", "a@b.example"), ("request", "other@b.example"), ("confirm", "other@b.example"),
    ]  # fmt: skip


def test_consent_that_came_before_the_address_belongs_to_nobody() -> None:
    """It would be that of whatever address comes next; said again with the address, it is its own until that changes."""
    play = Play(workflow("trigger: {event: A}", "[{send: {channel: email, template: t}, id: mail}]").replace(
        "transactional", "marketing", 1))  # fmt: skip
    play.identify("1s", consent=NEWS)
    play.identify("2s", email="first@b.example")
    assert asked(play, "2s") == "suppressed no_consent"
    play.identify("3s", consent=NEWS)
    assert asked(play, "3s") == "queued"
    play.identify("4s", email="second@b.example")
    assert asked(play, "5s") == "suppressed no_consent"
    play.identify("6s", email="first@b.example")
    assert asked(play, "7s") == "queued"


def test_a_click_confirms_the_address_of_its_own_mail() -> None:
    """Whoever changes the address between the mail and the click has confirmed the old one."""
    mail = workflow(
        "trigger: {event: Consent Requested}", "[{send: {channel: email, template: doi}, id: doi}]", name="doi"
    )
    play = consented(more=(mail,))
    play.identify("1s", consent_request=NEWS)
    message = play.messages[-1].id
    play.identify("2s", email="other@b.example")
    play.consent("3s", "confirm", NEWS, source="link", proof={"message": message})
    assert ledger(play)[-1].address == "a@b.example"
    assert asked(play, "4s") == "suppressed no_consent"
    play.identify("5s", consent=NEWS)
    play.consent("6s", "confirm", NEWS, source="link", proof={"message": message})
    assert asked(play, "7s") == "queued"
    assert ledger(play)[-1].action == "grant"


def test_the_same_again_is_no_entry_but_an_operators_word_is() -> None:
    """A shop sends consent with every call; an import brings a proof that was not there."""
    play = consented()
    for second in (1, 2, 3):
        play.identify(f"{second}s", consent=NEWS)
    assert len(ledger(play)) == 1
    play.consent("4s", "grant", NEWS, source="import", proof={"origin": "old shop", "row": "7", "wording": "Yes"})
    assert [one.source for one in ledger(play)] == ["shop", "import"]
    assert asked(play, "5s") == "queued"
    assert play.messages[-1].consent.endswith(ledger(play)[-1].id)


def test_a_proof_keeps_what_it_may_say_and_nothing_else() -> None:
    """Unknown names and what is not text do not reach the ledger, and nothing fails."""
    play = consented()
    proofs: list[object] = [None, 7, [], {"wording": 1, "ip": "", "odd": "x"}, {"wording": "w" * 9_000}]
    for second, (proof, channel) in enumerate(
        zip(proofs, ("sms", "voice", "whatsapp", "push", "print"), strict=True), 1
    ):
        play.identify(f"{second}s", consent_request={"marketing": [channel]}, consent_proof=proof)
    assert [sorted(one.proof) for one in ledger(play)] == [[], [], [], [], ["wording"]]
    assert len(ledger(play)[-1].proof["wording"]) == 4_000


actions = st.tuples(
    st.sampled_from(["grant", "request", "withdraw", "confirm"]), st.sampled_from(["email", "sms"]), st.integers(0, 50)
)


@given(st.lists(actions, max_size=12))
def test_where_consent_stands_follows_from_the_ledger_alone(history: list[tuple[str, str, int]]) -> None:
    """Whatever is granted and taken back, in whichever order it arrives: the projection of the entries is the state."""
    play = consented()
    for number, (action, channel, second) in enumerate(history, 60):
        play.consent(f"{number}s", action, {"marketing": [channel]}, time=f"{second}s")
    stands = {(one.purpose, one.channel): (one.status, one.address) for one in standing(ledger(play))}
    state = play.state().consent
    known = {
        (purpose, channel): (granted.status, granted.address)
        for purpose, channels in state.items()
        for channel, granted in channels.items()
    }
    assert {place: status for place, (status, _) in stands.items()} == {
        place: status for place, (status, _) in known.items()
    }
    assert len({one.id for one in ledger(play)}) == len(ledger(play))


@given(st.text(max_size=40), st.sampled_from(["email", "sms", "push"]))
def test_a_normal_address_stays_as_it_is(text: str, channel: str) -> None:
    """Normalising twice is normalising once, and no text makes it fail."""
    once = normal_address(text, channel)
    assert normal_address(once, channel) == once


def test_numbers_are_compared_without_punctuation() -> None:
    """As people write them."""
    assert {normal_address(text, "sms") for text in ("+49 151 123-45", "0049151 12345", "+49 (151) 12345")} == {
        "+4915112345"
    }
