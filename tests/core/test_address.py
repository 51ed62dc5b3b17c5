"""One mailbox has one name, however it is written; what was kept under an older rule is found."""

from __future__ import annotations

import pytest

from engine.core.consent.may_send import clean_address, normal_address, permission
from engine.core.consent.suppression import names
from engine.core.customer import CustomerState, Granted
from engine.core.facts.address import canonical, former, kept_as
from engine.core.policy import Policy, Purpose

NAME = "ana@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "written",
    [
        "ana@bücher.example", "Ana@BÜCHER.example", "ana@xn--bcher-kva.example", "ANA@XN--BCHER-KVA.EXAMPLE",
        "<ana@bücher.example>", "Ana <ana@bücher.example>", "ana@bücher.example.", "  ana@bu\u0308cher.example ",
        "mailto:ana@bücher.example", "ana@bücher。example",
    ],
)  # fmt: skip
def test_one_mailbox_has_one_name(written: str) -> None:
    """Capitals, both forms of the domain, brackets, the root's dot, composed or not: all the same mailbox."""
    assert canonical(written) == NAME
    assert normal_address(written, "email") == normal_address(written, "newsletter") == NAME
    assert canonical(NAME) == NAME


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ana@faß.example", "ana@fass.example"),
        ("straße@x.example", "strasse@x.example"),
        ("a.b@x.example", "ab@x.example"),
    ],
)
def test_two_mailboxes_have_two_names(one: str, other: str) -> None:
    """IDNA 2008 keeps ß, and what stands before the @ is its server's to judge."""
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    "written", ["x@a..b", "x@-a.example", "x@☃.example", "no address", "@", "x@", "\ud800@x.example"]
)
def test_what_is_no_address_only_loses_its_capitals(written: str) -> None:
    """It never fails, and its name is its own."""
    assert canonical(canonical(written)) == canonical(written)


@pytest.mark.parametrize(
    "older",
    [
        "ana@bücher.example",
        "ana@bu\u0308cher.example",
        NAME,
        f"{NAME}.",
        f"<{NAME}>",
        "ana@bücher.example.",
        "<ana@bücher.example>",
    ],
)
def test_what_was_kept_under_an_older_rule_is_found(older: str) -> None:
    """Whichever form the shop says today."""
    for said in ("ana@bücher.example", "ANA@xn--bcher-kva.example"):
        assert older in kept_as(said)
        assert f"email:{older}" in names("email", said)
        assert f"erased/email:{older}" in names("erased/email", said)
    assert NAME not in former(NAME)


def test_the_address_that_is_written_to_can_be_written_to() -> None:
    """Brackets and the root's dot would be refused by the mail server, and the refusal would count against the mailbox."""
    assert (
        clean_address("<Ana@Shop.example>", "email")
        == clean_address("Ana@Shop.example.", "email")
        == "Ana@Shop.example"
    )


POLICY = Policy(purposes={"marketing": Purpose("marketing", "opt_in")})


@pytest.mark.parametrize("kept", ["ana@bücher.example", NAME])
@pytest.mark.parametrize("said", ["Ana@bücher.example", NAME])
def test_an_older_state_still_consents_and_still_refuses(kept: str, said: str) -> None:
    """Consent and a bounce that were written down by the old rule count for both forms."""
    consent = {"marketing": {"email": Granted("granted", 1, "link", kept)}}
    state = CustomerState(id="ana", consent=consent)
    assert permission(state, POLICY, purpose="marketing", channel="email", address=said).reason == ""
    state.suppressed = {f"email:{kept}": "bounced"}
    assert (
        permission(state, POLICY, purpose="marketing", channel="newsletter", address=said).reason
        == "suppressed_address"
    )
