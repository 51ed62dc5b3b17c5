"""`[newsletter]`: what it does not say is as `[email]` says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.mail.email import EmailChannel
from channels.recording import Mailbox, MailboxChannel
from engine.dispatch.sending.limits import Limits
from engine.errors import SettingsError
from engine.project.channels import open_channels
from engine.project.parts import dispatch_options
from engine.settings import Settings, load_settings
from engine.settings.explaining import explain

EMAIL = (
    "[email]\nhost = 'smtp.shop.example'\nusername = 'shop'\nfrom = 'Shop <hello@shop.example>'\nrate_per_second = 50\n"
)


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The login of `[email]`."""
    monkeypatch.setenv("ANLASS_EMAIL__PASSWORD", "geheim")


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "anlass.toml").write_text(text)
    return load_settings(folder)


def mail_limits(settings: Settings) -> list[Limits]:
    """Of the providers that carry mail."""
    return [each for each in dispatch_options(settings).providers if {"email", "newsletter"} & set(each.channels)]


def channels_of(settings: Settings, folder: Path) -> tuple[EmailChannel, EmailChannel]:
    mailbox = Mailbox(folder)
    try:
        opened = open_channels(settings, ["email", "newsletter"], mailbox)
    finally:
        mailbox.close()
    email, newsletter = opened["email"], opened["newsletter"]
    assert isinstance(email, EmailChannel)
    assert isinstance(newsletter, EmailChannel)
    return email, newsletter


def test_without_a_section_newsletters_go_where_mail_goes(tmp_path: Path) -> None:
    """The same server, login and rate, under their own name."""
    settings = settings_of(tmp_path, EMAIL)
    email, newsletter = channels_of(settings, tmp_path)
    assert newsletter.name == "newsletter"
    assert newsletter.settings == email.settings
    (limits,) = mail_limits(settings)
    assert (limits.channels, limits.rate) == (("email", "newsletter"), 50)
    assert "newsletter: goes where email goes, shares its rate" in explain(settings)


def test_a_sender_of_its_own_changes_nothing_else(tmp_path: Path) -> None:
    """Only `from` differs; the rate is still one for both."""
    settings = settings_of(tmp_path, EMAIL + "[newsletter]\nfrom = 'News <news@shop.example>'\n")
    email, newsletter = channels_of(settings, tmp_path)
    assert (email.settings.from_, newsletter.settings.from_) == (
        "Shop <hello@shop.example>",
        "News <news@shop.example>",
    )
    assert newsletter.settings.host == "smtp.shop.example"
    assert len(mail_limits(settings)) == 1


def test_a_rate_of_its_own_makes_it_a_provider_of_its_own(tmp_path: Path) -> None:
    """So that a newsletter does not hold up the mail of orders."""
    settings = settings_of(tmp_path, EMAIL + "[newsletter]\nrate_per_second = 5\nconnections = 2\n")
    limits = {each.channels: (each.rate, each.under_way_max) for each in mail_limits(settings)}
    assert limits == {("email",): (50, 10), ("newsletter",): (5, 2)}
    _, newsletter = channels_of(settings, tmp_path)
    assert (newsletter.settings.host, newsletter.settings.username, newsletter.settings.connections) == (
        "smtp.shop.example", "shop", 2,
    )  # fmt: skip


def test_a_server_of_its_own_does_not_get_the_others_login(tmp_path: Path) -> None:
    """A password goes only where it belongs; the sender is still the shop."""
    settings = settings_of(tmp_path, EMAIL + "[newsletter]\nhost = 'bulk.example'\nport = 2525\n")
    _, newsletter = channels_of(settings, tmp_path)
    assert (newsletter.settings.host, newsletter.settings.port) == ("bulk.example", 2525)
    assert (newsletter.settings.username, newsletter.settings.password) == (None, None)
    assert newsletter.settings.from_ == "Shop <hello@shop.example>"
    assert "newsletter: sends through bulk.example:2525, no limit on the rate" in explain(settings)


def test_a_server_of_its_own_works_without_email(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newsletters leave; mail, which nothing is set up for, goes nowhere, unless the local mailbox is asked for by name."""
    monkeypatch.delenv("ANLASS_EMAIL__PASSWORD")
    settings = settings_of(tmp_path, "[newsletter]\nhost = '127.0.0.1'\nport = 2525\n")
    mailbox = Mailbox(tmp_path)
    opened = open_channels(settings, ["email", "newsletter"], mailbox)
    kept = settings_of(tmp_path, "[newsletter]\nhost = '127.0.0.1'\nport = 2525\n[mailbox]\nchannels = ['email']\n")
    both = open_channels(kept, ["email", "newsletter"], mailbox)
    mailbox.close()
    assert list(opened) == ["newsletter"]
    assert isinstance(opened["newsletter"], EmailChannel)
    assert isinstance(both["email"], MailboxChannel)


@pytest.mark.parametrize("line", ["port = 2525", "username = 'x'", "tls = 'none'"])
def test_half_a_server_is_refused(tmp_path: Path, line: str) -> None:
    """A port without a host would silently mean nothing."""
    with pytest.raises(SettingsError, match=r"newsletter\.host is not set"):
        settings_of(tmp_path, f"{EMAIL}[newsletter]\n{line}\n")
