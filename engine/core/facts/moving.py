"""A customer's wish to have another e-mail address: asked for, said yes to by both addresses, stopped, and when it takes effect.

Invariant: the address becomes the customer's only after the new one said yes, and not before the old one had the policy's
waiting time to say no, or said yes itself. Only the newest wish can take effect, and a day has at most `ASKED_MAX` of them,
whoever asks and in however many processes: all of it lies in the customer's state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.channel import ADDRESS_TRAITS
from engine.core.consent import changes
from engine.core.consent.may_send import address_of, clean_address, normal_address
from engine.core.customer import AddressChange, Opened
from engine.core.record import Identify
from engine.core.time.schedule import DAY_MS, add

if TYPE_CHECKING:
    from engine.core.customer import CustomerState
    from engine.core.message import Message
    from engine.core.record import Event
    from engine.core.turn import Turn

ASKED = "Email Change Requested"
CONFIRMED = "Email Change Confirmed"
AGREED = "Email Change Agreed"
STOPPED = "Email Change Stopped"
CHANGED = "Email Changed"
LINK_ASKED = "Access Link Requested"
LINK_OPENED = "Access Link Opened"
CONSENT_ASKED = "Consent Requested"
OURS = frozenset({ASKED, CONFIRMED, AGREED, STOPPED, LINK_OPENED})
"""Events that mean something here, whatever workflows ask for."""
RESERVED = frozenset({CONFIRMED, AGREED, STOPPED, LINK_OPENED})
"""Events that only our own pages write: the intake takes them from nobody."""
ASKED_MAX = 3
"""Changes of address asked for in a day."""
OPEN_MS = 6 * DAY_MS
"""How long a new address can be confirmed."""
OPENED_MAX = 20
OPENED_KEPT_MS = 2 * 3_600_000
TOO_MANY = f"more than {ASKED_MAX} changes of address were asked for within a day"
_SHOWN = ("locale", "timezone", "country")
replace = msgspec.structs.replace


def note(turn: Turn, event: Event) -> tuple[str, ...] | None:
    """What an event of `OURS` changes: the traits that did, or None when it is refused and workflows are not to see it."""
    if event.name == ASKED:
        return () if _ask(turn, event) else None
    if event.name == LINK_OPENED:
        _open(turn, event)
        return ()
    change = open_change(turn.state, str(event.properties.get("change", "")), now_ms=turn.now_ms)
    if change is None:
        return None
    if event.name == STOPPED:
        end_all(turn, "stopped")
        turn.state.opened = tuple(
            replace(one, visit="") for one in turn.state.opened
        )  # whoever is on the page is put out
        return ()
    if event.name == CONFIRMED:
        change = replace(change, confirmed_ms=change.confirmed_ms or turn.now_ms)
    else:
        change = replace(change, agreed_ms=change.agreed_ms or turn.now_ms)
    if change.confirmed_ms:
        change = replace(change, due_ms=turn.now_ms if change.agreed_ms else _due_ms(turn, change))
    _put(turn, change)
    return wake(turn)


def asked_lately(state: CustomerState, now_ms: int) -> int:
    """How many changes of address were asked for within a day."""
    return sum(now_ms - change.asked_ms < DAY_MS for change in state.changes)


def open_change(state: CustomerState, change_id: str, *, now_ms: int) -> AddressChange | None:
    """The change of that id, if it can still be confirmed, agreed to and stopped."""
    for change in state.changes:
        if change.id == change_id and not change.ended and now_ms - change.asked_ms <= OPEN_MS:
            return change
    return None


def wanted(state: CustomerState, *, now_ms: int) -> str:
    """The address of the change that is open; "" when there is none."""
    return next((one.address for one in state.changes if not one.ended and now_ms - one.asked_ms <= OPEN_MS), "")


def wake(turn: Turn) -> tuple[str, ...]:
    """Lets take effect what is due; the names of the traits that changed."""
    for change in turn.state.changes:
        if not change.ended and change.due_ms and change.due_ms <= turn.now_ms:
            return _take_effect(turn, change)
    return ()


def end_all(turn: Turn, how: str) -> None:
    """No open change takes effect any more: another came, or it was stopped."""
    if any(not change.ended for change in turn.state.changes):
        turn.state.changes = tuple(
            change if change.ended else replace(change, ended=how) for change in turn.state.changes
        )


def joined(mine: tuple[AddressChange, ...], other: tuple[AddressChange, ...]) -> tuple[AddressChange, ...]:
    """The changes of two ids that are one person: of two open ones the newer."""
    both = sorted((*mine, *other), key=lambda change: (change.asked_ms, change.id))
    newest = next((change.id for change in reversed(both) if not change.ended), "")
    return tuple(
        change if change.ended or change.id == newest else replace(change, ended="overtaken") for change in both
    )[-2 * ASKED_MAX :]


def _ask(turn: Turn, event: Event) -> bool:
    state, now_ms = turn.state, turn.now_ms
    address = clean_address(event.properties.get("email"), "email")
    if not address or asked_lately(state, now_ms) >= ASKED_MAX:
        turn.decide("trait_refused", trait="email", reason=TOO_MANY if address else "it is not an e-mail address")
        return False
    end_all(turn, "overtaken")
    kept = tuple(change for change in state.changes if now_ms - change.asked_ms < DAY_MS)
    state.changes = (*kept, AddressChange(event.id, address, now_ms))
    turn.grew = True
    return True


def _due_ms(turn: Turn, change: AddressChange) -> int:
    """When the old address has had its time. Who has none that could be told waits for nothing."""
    if not address_of(turn.state, "email"):
        return turn.now_ms
    return max(turn.now_ms, add(change.asked_ms, turn.catalog.policy.address_change_wait, turn.zone))


def _take_effect(turn: Turn, change: AddressChange) -> tuple[str, ...]:
    _put(turn, replace(change, ended="done"))
    key = f"address:{change.id}"
    said = Identify(
        customer=turn.state.id, at_ms=turn.now_ms, id=key, time_ms=turn.now_ms, traits={"email": change.address}
    )
    changed = changes.apply_identify(turn, said)
    if CHANGED in turn.catalog.interests:
        turn.raise_event(f"{key}:event", CHANGED, {"email": change.address})
    return changed


def _put(turn: Turn, change: AddressChange) -> None:
    turn.state.changes = tuple(change if one.id == change.id else one for one in turn.state.changes)


def _open(turn: Turn, event: Event) -> None:
    """The first visit that uses an access link has it."""
    state = turn.state
    message, visit = (str(event.properties.get(name, ""))[:64] for name in ("message", "visit"))
    if not message or not visit or any(one.message == message for one in state.opened):
        return
    kept = [one for one in state.opened if turn.now_ms - one.at_ms < OPENED_KEPT_MS]
    state.opened = (*kept, Opened(message, visit, turn.now_ms))[-OPENED_MAX:]
    turn.grew = True


# -- mails to addresses that nobody has proved to be the customer's ------------------------------------------------------


def without_words(state: CustomerState, message: Message) -> Message:
    """The message; to an address that is not proved, without what its customer wrote: a stranger may get it."""
    if not _is_unproven(state, message):
        return message
    context = message.context
    customer = context.get("customer", {})
    kept: dict[str, Any] = {**context, "customer": {name: customer[name] for name in _SHOWN if name in customer}}
    if _cause(message).get("name") == ASKED:
        cause = context["enrollment"]["event"]
        only = {**cause, "properties": {"email": cause.get("properties", {}).get("email", "")}}
        kept["enrollment"] = {**context["enrollment"], "event": only}
    return replace(message, context=kept)


def _is_unproven(state: CustomerState, message: Message) -> bool:
    if ADDRESS_TRAITS.get(message.channel) != "email":
        return False
    address = normal_address(message.address, "email")
    cause = _cause(message)
    if cause.get("name") == ASKED:
        return address != normal_address(address_of(state, "email"), "email")
    if cause.get("name") != CONSENT_ASKED:
        return False
    given = [one for by in state.consent.values() for name, one in by.items() if ADDRESS_TRAITS.get(name) == "email"]
    return not any(one.status == "granted" and one.address == address for one in given)


def _cause(message: Message) -> dict[str, Any]:
    cause: dict[str, Any] = message.context.get("enrollment", {}).get("event", {})
    return cause
