"""B10: single steps against the baseline library that one would take otherwise, in the same run.

Invariant: both sides do the same work on the same data, and their results are compared before anything is measured.
"""

from __future__ import annotations

import base64
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dkim
import msgspec
from jinja2 import Environment
from jinja2.sandbox import ImmutableSandboxedEnvironment

from benchmarks.harness import Report
from benchmarks.killing import make_project
from benchmarks.newsletter import CONTEXT, HTML, write_template
from channels.contract import OutgoingMessage
from channels.mail.dkim import DkimSigner
from channels.mail.dkim_keys import Kind, load_key, make_key
from channels.mail.mime import compose, message_bytes
from engine.bootstrap import open_rehearsal
from engine.core.customer import decode_state, encode_state
from engine.core.evaluate import evaluate
from engine.core.expression.scope import Scope
from engine.core.record import Event, Identify
from engine.definition.expression.parse import compile_expression
from engine.dispatch.links.schemes import harmless_html
from engine.dispatch.templates.template_set import TemplateSet

Step = tuple[Callable[[], object], Callable[[], object]]
"""Ours, and the baseline."""
CONDITION = "event.cart_total >= 30 and customer.country == 'DE' and event.currency in ['EUR', 'CHF']"


def condition() -> Step:
    """A condition of three terms: generated Python against Jinja's compiled expression."""
    properties = {"cart_total": 80, "currency": "EUR"}
    traits = {"country": "DE"}
    scope = Scope(customer_id="c1", now_ms=1, project_zone=ZoneInfo("Europe/Berlin"))
    scope.event_name, scope.properties, scope.traits = "Product Added", properties, traits
    ours = compile_expression(CONDITION)
    theirs = Environment(autoescape=False).compile_expression(CONDITION)  # noqa: S701 - an expression, no document
    names = {"event": properties, "customer": traits}
    assert ours.holds(scope) is theirs(**names) is True
    return (lambda: ours.holds(scope)), (lambda: theirs(**names))


def decode() -> Step:
    """An event of 640 bytes from JSON: a typed struct with raw properties against the standard library."""
    body = {
        "type": "track",
        "messageId": "m1",
        "userId": "c1",
        "event": "Product Added",
        "timestamp": "2026-03-27T10:00:00Z",
    }
    products = [{"sku": f"s{number}", "name": "Leinenhemd", "price": 49.9, "quantity": 1} for number in range(7)]
    raw = json.dumps({**body, "properties": {"cart_id": "k1", "products": products}}).encode()
    decoder = msgspec.json.Decoder(_Routed)
    assert decoder.decode(raw).event == json.loads(raw)["event"]
    return (lambda: decoder.decode(raw)), (lambda: json.loads(raw))


class _Routed(msgspec.Struct):
    userId: str  # noqa: N815 - the name on the wire
    event: str
    properties: msgspec.Raw


def state() -> Step:
    """A customer's state out of its bytes and back: msgpack arrays against JSON."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = open_rehearsal(make_project(Path(folder) / "p")).catalog
    traits = {"email": "ana@example.com", "consent": {"marketing": ["email"]}}
    customer, _ = evaluate(catalog, None, Identify(customer="c1", at_ms=1, id="i", time_ms=1, traits=traits))
    for number in range(6):
        event = Event(
            customer="c1", at_ms=number + 2, id=f"e{number}", name="Cart Left", time_ms=number + 2,
            properties={"cart": f"k{number}", "total": 80},
        )  # fmt: skip
        customer, _ = evaluate(catalog, customer, event)
    assert customer is not None
    packed = encode_state(customer)
    plain = json.dumps(msgspec.to_builtins(customer)).encode()
    return (lambda: encode_state(decode_state(packed))), (lambda: json.dumps(json.loads(plain)).encode())


def render() -> Step:
    """A newsletter of 5 KB: holes in prepared text against a sandboxed Jinja template; both look where links lead."""
    with tempfile.TemporaryDirectory() as folder:
        write_template(Path(folder))
        template = TemplateSet.load(Path(folder)).find("email", "letter")
    theirs = ImmutableSandboxedEnvironment(autoescape=True).from_string(HTML)
    first = template.render(CONTEXT).html
    for value in ("Ana &amp; Co", "https://shop.example/u/t"):
        assert value in first, value
        assert value in theirs.render(CONTEXT), value
    return (lambda: template.render(CONTEXT)), (lambda: harmless_html(theirs.render(CONTEXT)))


def mime() -> Step:
    """The bytes of a mail of 6 KB, 8bit: a skeleton against the standard library's EmailMessage."""
    html = HTML.replace("{{ unsubscribe_url }}", "https://shop.example/u/t")
    text = "Grüße aus Hamburg.\n" * 20
    mail = OutgoingMessage(
        id="0" * 32, channel="email", to="ana@example.com", subject="Für dich: Leinen", text=text, html=html,
        date_ms=1_767_225_600_000, list_unsubscribe_url="https://shop.example/u/t",
    )  # fmt: skip

    def theirs() -> bytes:
        message = EmailMessage(policy=policy.SMTP.clone(max_line_length=998, cte_type="8bit"))
        message["From"], message["To"], message["Subject"] = "Shop <hello@shop.example>", mail.to, mail.subject
        message["Message-ID"] = f"<{mail.id}@shop.example>"
        message.set_content(text, cte="8bit")
        message.add_alternative(html, subtype="html", cte="8bit")
        return message.as_bytes()

    def ours() -> bytes:
        return compose(mail, sender="Shop <hello@shop.example>", eight_bit=True).wire

    assert "Grüße aus Hamburg".encode() in ours()
    assert "Grüße aus Hamburg".encode() in theirs()
    return ours, theirs


def _dkim(kind: Kind) -> Step:
    html = HTML.replace("{{ unsubscribe_url }}", "https://shop.example/u/t")
    mail = OutgoingMessage(
        id="0" * 32, channel="email", to="ana@example.com", subject="Leinen", text="Aus Hamburg.\n" * 20, html=html,
        date_ms=1_767_225_600_000, list_unsubscribe_url="https://shop.example/u/t",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key"
        make_key(file, kind=kind)
        signer = DkimSigner([load_key(str(file), kind=kind, selector="s", domain="shop.example")])
        pem = file.read_bytes()
    private = signer.keys[0].private
    theirs_key = pem if kind == "rsa" else base64.b64encode(private.private_bytes_raw())  # type: ignore[union-attr]
    unsigned = message_bytes(compose(mail, sender="Shop <hello@shop.example>", eight_bit=True).wire)
    also = [b"from", b"to", b"subject", b"date", b"message-id", b"list-unsubscribe", b"list-unsubscribe-post"]
    algorithm = b"rsa-sha256" if kind == "rsa" else b"ed25519-sha256"

    def theirs() -> bytes:
        signature: bytes = dkim.sign(
            unsigned, b"s", b"shop.example", theirs_key, canonicalize=(b"relaxed", b"relaxed"), include_headers=also,
            signature_algorithm=algorithm,
        )  # fmt: skip
        return signature

    def ours() -> bytes:
        return compose(mail, sender="Shop <hello@shop.example>", eight_bit=True, signer=signer).wire

    assert ours().startswith(b"DKIM-Signature: v=1; a=" + algorithm)
    assert theirs().startswith(b"DKIM-Signature: v=1; a=" + algorithm)
    return ours, theirs


def dkim_rsa() -> Step:
    """A mail of 5 KB built and signed with RSA-2048, against dkimpy signing one that is built already."""
    return _dkim("rsa")


def dkim_ed25519() -> Step:
    """The same with Ed25519."""
    return _dkim("ed25519")


STEPS: dict[str, Callable[[], Step]] = {
    "condition": condition, "decode": decode, "state": state, "render": render, "mime": mime, "dkim rsa": dkim_rsa,
    "dkim ed25519": dkim_ed25519,
}  # fmt: skip


def measure(step: Step, *, seconds: float = 0.15) -> dict[str, float]:
    """CPU us of each side and the ratio, measured in turns of a few milliseconds."""
    used = [0.0, 0.0]
    calls = [0, 0]
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for side, work in enumerate(step):
            start = time.process_time()
            for _ in range(20):
                work()
            used[side] += time.process_time() - start
            calls[side] += 20
    ours, theirs = used[0] / calls[0] * 1e6, used[1] / calls[1] * 1e6
    return {"us": ours, "baseline us": theirs, "times faster": theirs / ours}


def main() -> int:
    """All steps, interleaved."""
    report = Report("b10", "micro: one step against the baseline library (JSON, Jinja2, EmailMessage)")
    ready: dict[str, Any] = {name: make() for name, make in STEPS.items()}
    report.rounds({name: functools.partial(measure, step) for name, step in ready.items()})
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
