"""Channels that nothing is set up for: said by `check`, never sent into the void."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.contract import Capabilities
from channels.mail.email import EmailChannel
from channels.recording import Mailbox
from engine.bootstrap import check
from engine.project.channels import open_channels
from engine.project.channels_missing import CODE
from engine.settings import explain, load_settings

WORKFLOW = """\
workflow: hello
purpose: transactional
trigger: {event: Signed Up}
steps:
  - send: {channel: email, template: hello}
    id: mail
  - send: {channel: [messenger, sms], template: hello}
    id: text
  - wait_for:
      any: [{outcome: delivered, of: text, then: []}]
      timeout: 1h
      otherwise: []
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Mail and texts; nothing is set up."""
    for name, text in {
        "workflows/hello.yaml": WORKFLOW,
        "workflows/policy.yaml": "policy: default\nzone: UTC\npurposes: {transactional: {consent: none}}\n",
        "templates/email/hello.html": "---\nsubject: Hello\n---\n<p>Hello</p>",
        "templates/sms/hello.txt": "Hello",
        "templates/messenger/hello.txt": "Hello",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def warned(project: Path) -> list[str]:
    return [f"{each.file}:{each.line} {each.message}" for each in check(project) if each.code == CODE]


def opened(project: Path) -> list[str]:
    mailbox = Mailbox(project)
    try:
        return sorted(open_channels(load_settings(project), ["email", "messenger", "sms"], mailbox))
    finally:
        mailbox.close()


def test_where_nothing_is_set_up_all_of_it_lies_in_the_mailbox(project: Path) -> None:
    """A first look at Anlass sends nothing anywhere, and needs no warning."""
    assert warned(project) == []
    assert opened(project) == ["email", "messenger", "sms"]
    assert any(line.startswith("not set up: ") and "local mailbox" in line for line in explain(load_settings(project)))


def test_beside_a_real_channel_the_others_are_missing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` names each where it stands, `check --settings` says what to do, and no adapter pretends to send."""
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "127.0.0.1")
    found = warned(project)
    assert [each.partition(" nothing")[0] for each in found] == ["workflows/hello.yaml:7"] * 2
    assert opened(project) == ["email"]
    (line,) = [line for line in explain(load_settings(project)) if line.startswith("not set up")]
    assert "messenger" in line
    assert "no_channel" in line


def test_the_mailbox_can_be_asked_for_by_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it takes the channel although mail really leaves."""
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "127.0.0.1")
    monkeypatch.setenv("ANLASS_MAILBOX__CHANNELS", "sms, messenger")
    assert warned(project) == []
    assert opened(project) == ["email", "messenger", "sms"]


def test_what_a_channel_cannot_tell_is_not_waited_for_silently(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address for callbacks nothing is heard of texts' deliveries: `check` reads what the adapter says it can."""
    for name, value in {
        "SMS__ACCOUNT_SID": "AC" + "0" * 32,
        "SMS__AUTH_TOKEN": "secret",
        "SMS__FROM": "+4915112345678",
        "MAILBOX__CHANNELS": "email",
    }.items():
        monkeypatch.setenv(f"ANLASS_{name}", value)
    path = project / "workflows" / "hello.yaml"
    path.write_text(path.read_text().replace("[messenger, sms]", "sms"))
    codes = [(each.code, each.line) for each in check(project) if each.severity == "warning"]
    assert ("outcome-never-heard", 10) in codes
    monkeypatch.setenv("ANLASS_COLLECTOR__PUBLIC_URL", "https://shop.example")
    monkeypatch.setenv("ANLASS_COLLECTOR__WRITE_KEYS", "a-key-of-sixteen-or-more-characters")
    assert "outcome-never-heard" not in [each.code for each in check(project)]


def test_check_tells_what_an_adapter_leaves_out(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTML by an adapter of texts, and advertising without the button that mail programs show."""
    news = "purpose: marketing\n".join(WORKFLOW.split("purpose: transactional\n"))
    (project / "workflows/hello.yaml").write_text(news)
    policy = "policy: default\nzone: UTC\npurposes: {marketing: {consent: opt_in}}\n"
    (project / "workflows/policy.yaml").write_text(policy)
    way_out = '<p><a href="{{ unsubscribe_url }}">Stop</a></p>'
    (project / "templates/email/hello.html").write_text(f"---\nsubject: Hello\n---\n<p>Hello</p>{way_out}")
    codes = {"html-not-sent", "no-one-click"}
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "127.0.0.1")
    monkeypatch.setenv("ANLASS_MAILBOX__CHANNELS", "sms, messenger")
    assert [each for each in check(project) if each.code in codes] == []
    monkeypatch.setattr(EmailChannel, "capabilities", Capabilities())
    assert {(each.file, each.code) for each in check(project) if each.code in codes} == {
        ("templates/email/hello.html", code) for code in codes
    }
