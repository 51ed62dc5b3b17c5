"""What a record changes about consent: by traits, links, forms, operators, purchases; each change with its entry in the ledger.

Invariant: the last writer by the time of the thing wins, not the last to arrive. An objection is undone only by the customer's
own new consent, and consent belongs to the address that it was given for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engine.core.channel import ADDRESS_TRAITS
from engine.core.consent.may_send import BASES, NOTICE_PROPERTY, address_of, keys_of, normal_address, same_address
from engine.core.consent.names import unknown_channel, unknown_purpose
from engine.core.consent.proof import PROOF_CHARS_MAX, PROOF_KEYS, record_id
from engine.core.consent.suppression import BOUNCED, OWN_ACT, of_objection
from engine.core.customer import CustomerState, Granted
from engine.core.facts.naming import with_names
from engine.core.facts.profile import set_traits
from engine.core.facts.usable import with_usable
from engine.core.message import is_of
from engine.core.record import Consent, Event, Identify
from engine.core.time.zone import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.core.turn import Turn

CONSENT_TRAITS = {"consent": "grant", "consent_request": "request", "consent_withdraw": "withdraw"}
PROOF_TRAIT = "consent_proof"
SHOP = "shop"
NO_ADDRESS = "no address is known that it could be for; send the address before it, or with it"
NOT_THEIRS = "the message with this link is not one of this customer's"
REPEATED = "withdrawn by the customer since; say with a later confirmed_at in consent_proof that it was given anew"
_NOT_TRAITS = frozenset({*CONSENT_TRAITS, PROOF_TRAIT})
_STATUS = {"grant": "granted", "confirm": "granted", "request": "requested", "withdraw": "withdrawn"}
_EVENT_OF = {
    "grant": "Consent Granted",
    "confirm": "Consent Confirmed",
    "request": "Consent Requested",
    "withdraw": "Consent Withdrawn",
}
_NOT_THEIR_OWN = frozenset({SHOP, "import"})
"""Sources that speak about a customer, not for them."""
_ANSWERS = frozenset({"answer", "answer: nothing was given"})
_ALWAYS_RECORDED = frozenset({"import", "operator"})
"""Sources whose word is an entry of the ledger also where it changes nothing: they bring a proof that was not there."""
_MAY_MISSPELL = frozenset({SHOP, "import"})
"""Sources whose names people write by hand; links and pages have theirs from the policy of when they were made."""
EXISTING = "existing_customer"
PURPOSES_MAX = 50
CHANNELS_MAX = 20


class Origin(NamedTuple):
    """Where a change of consent comes from: the record's id and time, its source, the proof that goes into the ledger.

    `traits` are those that came with it: an address among them is the one that it is about.
    """

    record_id: str
    time_ms: int
    source: str
    proof: Mapping[str, Any] = {}
    traits: Mapping[str, Any] = {}


class _Change(NamedTuple):
    action: str
    entry: dict[str, Any]
    """As `engine.core.consent.proof.records_of` reads it."""


def apply_identify(turn: Turn, record: Identify) -> tuple[str, ...]:
    """Traits and the consent that came with them. Returns the names of traits that changed."""
    traits = with_names(turn, with_usable(turn, record.traits))
    plain = traits
    if not _NOT_TRAITS.isdisjoint(traits):
        plain = {name: value for name, value in traits.items() if name not in _NOT_TRAITS}
    before = turn.state
    known = {channel: address_of(before, channel) for channel in ADDRESS_TRAITS} if before.consent else {}
    changed = set_traits(turn, plain, record.time_ms)
    if known and not {"email", "phone"}.isdisjoint(changed):
        turn.state.consent = bound(turn.state, known)
    if plain is not traits:
        proof = clean_proof(traits.get(PROOF_TRAIT))
        origin = Origin(record.id, record.time_ms, SHOP, proof, plain)
        for trait, action in CONSENT_TRAITS.items():
            if trait in traits:
                change_consent(turn, action, traits[trait], origin=origin)
    return changed


def apply_consent(turn: Turn, record: Consent) -> None:
    """A change of consent that came by a link, a form or an operator."""
    origin = Origin(record.id, record.time_ms, record.source, clean_proof(record.proof))
    change_consent(turn, record.action, record.purposes, origin=origin)


def apply_purchase(turn: Turn, event: Event) -> None:
    """An address obtained with a sale, with the notice that its owner may object: what § 7(3) UWG asks to be on record.

    The property is `true` (e-mail), a list of channels, or `{channels, wording, wording_version, language}`.
    """
    notice = event.properties.get(NOTICE_PROPERTY)
    if not notice:
        return
    told = notice if isinstance(notice, dict) else {}
    channels = told.get("channels", ["email"]) if told or notice is True else notice
    names = [purpose.name for purpose in turn.catalog.policy.purposes.values() if purpose.consent == EXISTING]
    proof = {**clean_proof(told), "basis": EXISTING, "form": "purchase"}
    origin = Origin(event.id, event.time_ms, SHOP, proof)
    change_consent(turn, "grant", dict.fromkeys(names, channels), origin=origin)


def clean_proof(proof: object) -> dict[str, str]:
    """Of a proof what can be kept; the intake refuses the rest, this only never fails."""
    if not isinstance(proof, dict):
        return {}
    return {
        name: value[:PROOF_CHARS_MAX]
        for name, value in proof.items()
        if name in PROOF_KEYS and isinstance(value, str) and value
    }


def change_consent(turn: Turn, action: str, purposes: object, *, origin: Origin) -> None:
    """Applies `{purpose: [channel, …]}`. A request counts as granted where the policy asks for no double opt-in.

    Writes a `consent` decision for each purpose, with the ledger's entries, and raises the matching event, with the channels
    it is about.
    """
    for purpose, channels in _known(turn, action, purposes, source=origin.source):
        done: dict[str, list[dict[str, Any]]] = {}
        for channel in channels:
            change = _one_consent(turn, action, (purpose, channel), origin)
            if change is not None:
                done.setdefault(change.action, []).append(change.entry)
        for became, entries in done.items():
            names = [entry["channel"] for entry in entries]
            more: dict[str, Any] = {"proof": dict(origin.proof)} if origin.proof else {}
            turn.decide(
                "consent", purpose=purpose, channels=names, action=became, source=origin.source, time_ms=origin.time_ms,
                records=entries, **more,
            )  # fmt: skip
            event = _EVENT_OF[became]
            if event in turn.catalog.interests:
                for properties in _event_properties(became, purpose, names):
                    turn.raise_event(
                        f"{origin.record_id}:{became}:{purpose}:{properties.get('channel', '')}", event, properties
                    )


def _event_properties(action: str, purpose: str, channels: list[str]) -> Iterable[dict[str, Any]]:
    """A request is one event with its channels; a confirmation, grant or withdrawal is one event a channel."""
    if action == "request":
        return ({"purpose": purpose, "channels": channels},)
    return ({"purpose": purpose, "channel": channel} for channel in channels)


def _one_consent(turn: Turn, action: str, about: tuple[str, str], origin: Origin) -> _Change | None:
    """Changes one purpose and channel; None when an older or the same one says nothing new."""
    purpose, channel = about
    state = turn.state
    old = state.consent.get(purpose, {}).get(channel)
    address = _address(state, action, channel, origin=origin, old=old)
    if refused := _refusal(state, action, channel, address=address, origin=origin):
        turn.decide("trait_refused", trait="consent", reason=refused, purpose=purpose, channel=channel)
        return None
    basis = origin.proof.get("basis", "consent")
    basis = basis if basis in BASES else "consent"
    if old is not None and _says_nothing(turn, old, action, origin=origin, about=(channel, address, basis)):
        return None
    known = turn.catalog.policy.purposes.get(purpose)
    if action == "request" and (known is None or channel not in known.double):
        action = "grant"
    if action == "grant" and old is not None and _only_repeats(old, origin):
        turn.decide("trait_refused", trait="consent", reason=REPEATED, purpose=purpose, channel=channel)
        return None
    status = _STATUS[action]
    entry_id = record_id(origin.record_id, customer=state.id, action=action, purpose=purpose, channel=channel)
    if action == "withdraw":
        _remember_objection(turn, (purpose, channel), origin)
    proven_ms = _proven_ms(action, origin, old, about=(channel, address))
    granted = Granted(status, origin.time_ms, origin.source, address, entry_id, basis, proven_ms, origin.time_ms)
    if old is not None and old.status == status == "granted" and not _moved(old, address, channel):
        granted = msgspec.structs.replace(granted, since_ms=min(old.since_ms or old.at_ms, origin.time_ms))
    same = old is not None and old.status == status and action != "request" and not _moved(old, address, channel)
    same = same and (old is None or old.basis == basis or status == "withdrawn")
    if same and old is not None and origin.source not in _ALWAYS_RECORDED:
        # Nothing new, but newer: what happened in between and arrives later does not undo it.
        source = origin.source if action == "confirm" else old.source
        granted = msgspec.structs.replace(
            old, at_ms=origin.time_ms, source=source, proven_ms=proven_ms, since_ms=granted.since_ms
        )
    state.consent = {**state.consent, purpose: {**state.consent.get(purpose, {}), channel: granted}}
    turn.grew = True
    if action == "confirm" and origin.source == OWN_ACT:
        _lift_bounce(turn, channel, address)
    if granted.record != entry_id:
        return None
    entry: dict[str, Any] = {"id": entry_id, "channel": channel, "address": address, "basis": basis}
    if old is not None and old.status == "requested" and action == "confirm":
        entry["requested_ms"] = old.at_ms
    return _Change(action, entry)


def _remember_objection(turn: Turn, about: tuple[str, str], origin: Origin) -> None:
    """An objection of the customer's own counts for its address, whichever ids have it: that of the mail it came by."""
    purpose, channel = about
    if channel not in ADDRESS_TRAITS or origin.source in _NOT_THEIR_OWN:
        return
    if origin.source in _ANSWERS and ADDRESS_TRAITS[channel] != "email":
        return  # STOP is recorded for every id that was ever written to at the number, and START takes it back
    address = _mailed_to(turn.state, channel, origin)
    address = address or normal_address(origin.proof.get("address"), channel)
    address = address or normal_address(address_of(turn.state, channel), channel)
    if address:
        turn.effects.append(
            of_objection(purpose, channel, address, source=origin.source or "operator", at_ms=origin.time_ms)
        )


def _proven_ms(action: str, origin: Origin, old: Granted | None, *, about: tuple[str, str]) -> int:
    """When the owner of the address last proved that they want this: by an act of their own, or a proof that was handed in."""
    channel, address = about
    kept = 0
    if old is not None and old.status == "granted" and not _moved(old, address, channel):
        kept = old.proven_ms
    if action not in {"grant", "confirm"}:
        return kept if action == "request" else 0
    if origin.source not in _NOT_THEIR_OWN:
        return max(kept, origin.time_ms)
    times = (parse_time(origin.proof.get(name)) for name in ("confirmed_at", "requested_at"))
    return max([kept, *(min(at_ms, origin.time_ms) for at_ms in times if at_ms is not None)])


def _lift_bounce(turn: Turn, channel: str, address: str) -> None:
    """Who confirms by a mail to the address receives mail there: a bounce is over. A complaint or an objection is not."""
    if not address or channel not in ADDRESS_TRAITS:
        return
    state = turn.state
    gone = {key for key in keys_of(state, channel, address) if state.suppressed.get(key, BOUNCED) == BOUNCED}
    if gone:
        state.suppressed = {key: reason for key, reason in state.suppressed.items() if key not in gone}
        state.soft_bounces = {key: times for key, times in state.soft_bounces.items() if key not in gone}


def _refusal(state: CustomerState, action: str, channel: str, *, address: str, origin: Origin) -> str:
    """Why a yes cannot be taken: it would be somebody else's, or belong to whatever address comes next. A no always is."""
    if action == "withdraw":
        return ""
    message = origin.proof.get("message")
    if action == "confirm" and message and not is_of(state.salts, message):
        return NOT_THEIRS
    return NO_ADDRESS if not address and channel in ADDRESS_TRAITS else ""


def _says_nothing(turn: Turn, old: Granted, action: str, *, origin: Origin, about: tuple[str, str, str]) -> bool:
    """Whether what is known already stands against it."""
    channel, address, basis = about
    if action == "withdraw" and old.status == "granted" and old.basis != "consent":
        return False  # an objection stands against a sale or a contract, whichever was first
    if old.at_ms > origin.time_ms:
        return True
    if basis != "consent" and action != "withdraw":
        # A sale or a contract undoes no objection, also where a consent was asked for since, and is less than consent.
        return old.status != "granted" or (basis == EXISTING and old.basis != EXISTING)
    if action == "request":
        return old.status == "granted" and old.basis == basis and not _moved(old, address, channel)
    if action == "confirm":  # an old link undoes no withdrawal, and does not speak for another address than its mail's
        current = normal_address(address_of(turn.state, channel), channel)
        elsewhere = (
            old.status == "granted" and _moved(old, address, channel) and same_address(old.address, current, channel)
        )
        return old.status == "withdrawn" or elsewhere
    return False


def _only_repeats(old: Granted, origin: Origin) -> bool:
    """Whether a shop says what it knew before the customer objected here, by a link, an answer or an operator.

    Shops send all traits with every call. What was given since has a time in its proof.
    """
    if origin.source != SHOP or old.status != "withdrawn" or old.source == SHOP:
        return False
    given = (parse_time(origin.proof.get(name)) for name in ("confirmed_at", "requested_at"))
    return not any(at_ms is not None and at_ms > old.at_ms for at_ms in given)


def _moved(old: Granted, address: str, channel: str) -> bool:
    return bool(old.address and address and not same_address(old.address, address, channel))


def _address(state: CustomerState, action: str, channel: str, *, origin: Origin, old: Granted | None) -> str:
    """Which address a change is about, normalised.

    A confirmation speaks for the address of the mail that it was in; else the one that was named, or asked for, counts; else the
    customer's.
    """
    trait = ADDRESS_TRAITS.get(channel, channel)
    if action == "confirm" and (mailed := _mailed_to(state, channel, origin)):
        return mailed
    named = normal_address(origin.proof.get("address"), channel) or normal_address(origin.traits.get(trait), channel)
    if not named and action == "confirm" and old is not None:
        named = old.address
    return named or normal_address(address_of(state, channel), channel)


def _mailed_to(state: CustomerState, channel: str, origin: Origin) -> str:
    """Where the message went that the proof names; "" when it names none, or none that is known."""
    message, trait = origin.proof.get("message"), ADDRESS_TRAITS.get(channel, channel)
    for sent in reversed(state.messages) if message else ():
        if sent.id == message and ADDRESS_TRAITS.get(sent.channel, sent.channel) == trait:
            return normal_address(sent.address, channel)
    return ""


def bound(state: CustomerState, known: Mapping[str, str] = {}) -> dict[str, dict[str, Granted]]:
    """The customer's consent; where no address was known, bound to the one there was (`known`, by channel), or there is."""
    consent: dict[str, dict[str, Granted]] = {}
    for purpose, channels in state.consent.items():
        consent[purpose] = dict(channels)
        for channel, granted in channels.items():
            if not granted.address and channel in ADDRESS_TRAITS:
                address = normal_address(known.get(channel) or address_of(state, channel), channel)
                consent[purpose][channel] = msgspec.structs.replace(granted, address=address)
    return consent


def of_both(ours: Granted, theirs: Granted, channel: str) -> Granted:
    """Which consent stands of two ids that are one person: as if all had been said of one, and of the same moment the no."""
    first, second = sorted((theirs, ours), key=lambda each: (each.at_ms, each.status == "withdrawn"))
    for one, other in ((first, second), (second, first)):
        if one.status == "withdrawn" and other.status == "granted" and other.basis != "consent":
            return one
    stands = False
    if second.status == "granted" and second.basis != "consent":
        stands = first.status != "granted" or (second.basis == EXISTING and first.basis != EXISTING)
    elif second.status == "requested" and first.status == "granted":
        stands = first.basis == second.basis and not _moved(first, second.address, channel)
    return first if stands else second


def _known(turn: Turn, action: str, purposes: object, *, source: str) -> Iterable[tuple[str, list[str]]]:
    """Those of the policy's purposes and of the channels that exist; each other one is a line in the journal and nothing else.

    An objection is heard also for what the policy had once: where there is something to object to, or one of our own
    links said it.
    """
    for purpose, channels in _well_formed(purposes):
        given = turn.state.consent.get(purpose, {})
        heard = action == "withdraw" and (bool(given) or source not in _MAY_MISSPELL)
        reason = "" if heard else unknown_purpose(turn.catalog, purpose)
        if reason:
            turn.decide("trait_refused", trait="consent", reason=reason, purpose=purpose)
            continue
        known = []
        for channel in channels:
            reason = "" if action == "withdraw" and channel in given else unknown_channel(turn.catalog, channel)
            if reason:
                turn.decide("trait_refused", trait="consent", reason=reason, purpose=purpose, channel=channel)
            else:
                known.append(channel)
        yield purpose, known


def _well_formed(purposes: object) -> Iterable[tuple[str, list[str]]]:
    """The purposes and channels that can be read; the intake refuses what can't, this only never fails."""
    if not isinstance(purposes, dict):
        return
    for purpose, channels in list(purposes.items())[:PURPOSES_MAX]:
        if isinstance(channels, str):
            channels = [channels]  # noqa: PLW2901 - one channel may be written without the list
        if isinstance(purpose, str) and isinstance(channels, list | tuple):
            yield purpose, [channel for channel in channels[:CHANNELS_MAX] if isinstance(channel, str)]
