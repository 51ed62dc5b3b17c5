"""Settings: the file, the environment over it, secrets, and what is said about mistakes."""

from __future__ import annotations

import base64
import secrets
import uuid
from pathlib import Path

import pytest

from channels.registry import load
from engine.errors import SettingsError
from engine.settings import CollectorSection, KeySection, Settings, explain, load_settings, weak_key
from engine.settings.keys import weakness


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a file of settings."""
    (tmp_path / "anlass.toml").write_text(
        '[collector]\nport = 9000\n[email]\nfrom = "Shop <a@shop.example>"\n', "utf-8"
    )
    return tmp_path


def read(project: Path, text: str) -> Settings:
    (project / "anlass.toml").write_text(text, "utf-8")
    return load_settings(project)


def mistake(project: Path, text: str | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(project) if text is None else read(project, text)
    return str(caught.value)


def test_without_a_file_everything_stays_on_this_machine(tmp_path: Path) -> None:
    """No keys: 127.0.0.1 only; no mail server: the local mailbox."""
    settings = load_settings(tmp_path)
    assert (settings.collector.bind, settings.collector.port) == ("127.0.0.1", 8080)
    assert not settings.email.configured
    assert settings.database_path == (tmp_path / "var" / "anlass.db").resolve()


def test_the_environment_wins(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key: what it does not name stays as the file has it."""
    monkeypatch.setenv("ANLASS_COLLECTOR__PORT", "9001")
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "127.0.0.1")
    monkeypatch.setenv("ANLASS_EMAIL__PORT", "2525")
    settings = load_settings(project)
    assert settings.collector.port == 9001
    assert settings.email.adapter("email") == {"host": "127.0.0.1", "port": 2525, "from": "Shop <a@shop.example>"}


def test_the_email_adapter_takes_the_section_as_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name that can be set here is one that the adapter knows; mail to this machine needs no sender."""
    (project / "password").write_text("hidden\n", "utf-8")
    text = """
    [email]
    host = "mail.shop.example"
    port = 465
    username = "u"
    password_file = "password"
    tls = "implicit"
    from = "Shop <a@shop.example>"
    return_path = "b+{id}@shop.example"
    connections = 3
    timeout_seconds = 5
    rate_per_second = 14
    domain_rate_per_second = 0.5
    """
    section = read(project, text).email.adapter("email")
    assert section["password"] == "hidden"
    load("email")(section)
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "localhost")
    load("email")(read(project, "").email.adapter("email"))


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("one", {"key1": "one"}),
        ("one, two", {"key1": "one", "key2": "two"}),
        ('["one"]', {"key1": "one"}),
        ('{"shop": "one"}', {"shop": "one"}),
    ],
)
def test_write_keys_can_be_written_in_several_ways(
    value: str, keys: dict[str, str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with one set, the collector listens to everybody."""
    monkeypatch.setenv("ANLASS_COLLECTOR__WRITE_KEYS", value)
    settings = load_settings(project)
    assert settings.collector.write_keys == keys
    assert settings.collector.bind == "0.0.0.0"  # noqa: S104 - what is asked for


def test_one_named_write_key(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested once more."""
    monkeypatch.setenv("ANLASS_COLLECTOR__WRITE_KEYS__SHOP", "one")
    assert load_settings(project).collector.write_keys == {"shop": "one"}


def test_without_keys_nobody_else_is_let_in(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for it is refused, with the mend."""
    monkeypatch.setenv("ANLASS_COLLECTOR__HOST", "0.0.0.0")  # noqa: S104 - what is refused
    said = mistake(project)
    assert "ANLASS_COLLECTOR__HOST" in said
    assert "set write_keys" in said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[colector]\nport = 1", ["anlass.toml", "[colector]", "Did you mean collector?"]),
        ("[collector]\nprot = 1", ["anlass.toml", "no prot", "Did you mean port?"]),
        ("[collector]\nport = 'x'", ["anlass.toml: collector.port", "integer"]),
        ("[collector]\nport = 70000", ["collector.port", "65535"]),
        ("[collector]\npublic_url = 'mail.shop.example'", ["public_url", "https://"]),
        ("[email]\npassword = 'x'", ["email.password is a secret", "ANLASS_EMAIL__PASSWORD", "password_file"]),
        ("[sms]\nauth_token = 'x'", ["sms.auth_token is a secret", "ANLASS_SMS__AUTH_TOKEN"]),
        ("[email]\nhost = 'mail.shop.example'", ["email.from is not", "ANLASS_EMAIL__FROM"]),
        ("[email]\nusername = 'u'", ["needed together", "ANLASS_EMAIL__PASSWORD"]),
        ("[email]\npassword_file = 'gone'", ["email.password_file", "gone", "cannot be read"]),
        ("[email]\ntls = 'maybe'", ["email.tls", "starttls"]),
        ("[database]\nurl = 'mysql://x'", ["anlass.toml: database", "sqlite:///"]),
        ("[database]\nurl = 'postgresql://shop@db/anlass?password=x'", ["url holds a password"]),
        ("[database]\nsynchronous = 'off'", ["database.synchronous", "'normal' or 'full'"]),
        ("[database]\nlog_days = -1", ["database.log_days", "greater than or equal to 0"]),
        ("[database]\njournal_days = 1.5", ["database.journal_days", "integer"]),
        ("[database]\njournal_day = 1", ["no journal_day", "Did you mean journal_days?"]),
        ("[email]\nrate_per_second = -1", ["email.rate_per_second", "greater than or equal to 0"]),
        ("[email]\nrate_per_second = nan", ["email.rate_per_second", "finite"]),
        ("[email]\ntimeout_seconds = nan", ["email.timeout_seconds", "finite"]),
        ("[email]\ndomain_rate_per_second = 1e-300", ["email.domain_rate_per_second", "0 means no limit"]),
        ("[email]\nrate_per_minute = 5", ["no rate_per_minute", "Did you mean rate_per_second?"]),
        ("port = 1", ["no section [port]"]),
        ("collector = 1", ["must be a section"]),
        ("[collector", ["not valid TOML", "at end of document"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_mend(text: str, parts: list[str], project: Path) -> None:
    """One sentence: where, what, and the nearest known word."""
    said = mistake(project, text)
    assert [part for part in parts if part not in said] == []


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("ANLASS_EMAIL__RATE_PER_SECOND", "fast", ["ANLASS_EMAIL__RATE_PER_SECOND", "number"]),
        ("ANLASS_DATABASE__LOG_DAY", "1", ["Did you mean ANLASS_DATABASE__LOG_DAYS?"]),
        ("ANLASS_EMAIL__HSOT", "x", ["Did you mean ANLASS_EMAIL__HOST?"]),
        ("ANLASS_EMAIL_HOST", "x", ["Did you mean ANLASS_EMAIL__HOST?"]),
        ("ANLASS_EMIAL__HOST", "x", ["Did you mean ANLASS_EMAIL__HOST?"]),
        ("ANLASS_COLLECTOR__PORT", "x", ["ANLASS_COLLECTOR__PORT", "integer"]),
        ("ANLASS_COLLECTOR", "x", ["names a section"]),
        ("ANLASS_COLLECTOR__SECRET", "short", ["shorter than 16"]),
        ("ANLASS_COLLECTOR__WRITE_KEYS", '{"a": [1]}', ["ANLASS_COLLECTOR__WRITE_KEYS"]),
    ],
)
def test_a_mistake_in_a_variable_is_named_with_its_mend(
    name: str, value: str, parts: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the file."""
    monkeypatch.setenv(name, value)
    said = mistake(project)
    assert [part for part in parts if part not in said] == []


def test_a_secret_is_never_repeated(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in what is printed, and not in an error beside it."""
    monkeypatch.setenv("ANLASS_EMAIL__USERNAME", "u")
    monkeypatch.setenv("ANLASS_EMAIL__PASSWORD", "hidden-word")
    settings = load_settings(project)
    assert "hidden-word" not in repr(settings) + " ".join(explain(settings))
    monkeypatch.setenv("ANLASS_EMAIL__PORT", "x")
    assert "hidden-word" not in mistake(project)


def test_what_no_part_of_this_version_reads_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that looks like ours and is none does no harm, and is not dropped in silence."""
    monkeypatch.setenv("ANLASS_COLOUR", "green")
    lines = explain(read(project, ""))
    assert any("ANLASS_COLOUR" in line and "not used by this version" in line for line in lines)


def test_kafka_has_a_short_variable(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ANLASS_KAFKA=host:port`, beside the other settings of the section; the long one wins."""
    assert not read(project, "").kafka.configured
    monkeypatch.setenv("ANLASS_KAFKA", "127.0.0.1:9092")
    settings = read(project, "[kafka]\npartitions = 3\nbootstrap = 'other:1'\n")
    assert (settings.kafka.bootstrap, settings.kafka.partitions) == ("127.0.0.1:9092", 3)
    assert any("ANLASS_COLLECTOR__SECRET" in line for line in explain(settings))
    monkeypatch.setenv("ANLASS_KAFKA__BOOTSTRAP", "long:2")
    monkeypatch.setenv("ANLASS_KAFKA__STANDBYS", "0")
    settings = load_settings(project)
    assert (settings.kafka.bootstrap, settings.kafka.standbys) == ("long:2", 0)


def test_the_database_may_be_postgresql(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the password by environment; one in the url is refused, because the file is shared."""
    monkeypatch.setenv("ANLASS_DATABASE__PASSWORD", "hidden-word")
    settings = read(project, "[database]\nurl = 'postgresql://anlass@db/anlass'\n")
    assert settings.database.is_postgresql
    assert settings.database_path == (project / "var" / "anlass.db").resolve()
    assert settings.journal_url == "postgresql://anlass:hidden-word@db/anlass"
    assert read(project, "").journal_url == "sqlite:///var/journal.db"
    (project / "anlass.toml").write_text("[database]\nurl = 'postgresql://anlass:word@db/anlass'\n", "utf-8")
    assert "ANLASS_DATABASE__PASSWORD" in mistake(project)


def test_what_is_missing_is_explained(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each part, and with the name to set."""
    assert any("ANLASS_EMAIL__HOST" in line for line in explain(load_settings(project)))
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "mail.shop.example")
    assert any("one-click unsubscribe needs https" in line for line in explain(load_settings(project)))


def test_rates_and_times_are_explained(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was set, what holds without, and what a rate without a mail server is worth."""
    lines = explain(load_settings(project))
    assert "email: no limit on the rate" in lines
    assert (
        "database: synchronous normal (when the power fails the last second can be lost); keeps the log 90 days,"
        " the journal 400 days" in lines
    )
    text = (
        "[email]\nrate_per_second = 14\ndomain_rate_per_second = 0.5\nconnections = 4\n"
        "[database]\nsynchronous = 'full'\nlog_days = 0\njournal_days = 365\n"
    )
    rates = "email: at most 14 messages a second, at most 0.5 a second to each domain"
    assert f"{rates}, which holds only with ANLASS_EMAIL__HOST" in explain(read(project, text))
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "127.0.0.1")
    lines = explain(load_settings(project))
    assert f"{rates}, 4 under way at once" in lines
    assert (
        "database: synchronous full (when the power fails nothing is lost); keeps the log for ever,"
        " the journal 365 days" in lines
    )


def test_the_secret_for_links_is_made_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept for the owner's eyes only; a configured one comes first."""
    first = load_settings(project).link_secret()
    file = project / "var" / "link-secret"
    assert load_settings(project).link_secret() == first
    assert len(first) == 64
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in file.parent.iterdir()] == ["link-secret"]
    file.write_text("short", "utf-8")
    with pytest.raises(SettingsError, match="too short"):
        load_settings(project).link_secret()
    monkeypatch.setenv("ANLASS_COLLECTOR__SECRET", "s" * 20)
    assert load_settings(project).link_secret() == b"s" * 20


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """Says how to make one."""
    assert "anlass init" in mistake(tmp_path / "gone")


@pytest.mark.parametrize("more", ["", "rate_per_second = 5", "host = 'other.example'"])
def test_newsletters_are_signed_as_other_mail_is(tmp_path: Path, more: str) -> None:
    """For the domain that the key is published at, with a sender, a rate or a server of their own; paths are whole."""
    (tmp_path / "anlass.toml").write_text(
        "[email]\nhost = 'mail.example'\nfrom = 'Shop <a@shop.example>'\ndkim_selector = 's1'\ndkim_key_file = 'k.pem'\n"
        f"[newsletter]\nfrom = 'News <b@news.shop.example>'\n{more}\n"
    )
    sections = load_settings(tmp_path).channel_sections
    for channel in ("email", "newsletter"):
        (section,) = (each for each in sections.values() if channel in each.SERVES)
        told = section.adapter(channel)
        assert told["dkim_domain"] == "shop.example"
        assert told["dkim_key_file"] == str(tmp_path / "k.pem")
        assert ("news" in str(told["from"])) == (channel == "newsletter")


STRONG = "mWq0T3nYvR8kZc5LxB1dHf7s"
WEB = '[[collector.keys]]\nname = "web-shop"\nkind = "browser"\nkey = "web_Tq3uYb0ZsNw81RkVdLhGxE5c"\norigins = ["https://shop.example"]\n'


def test_keys_have_names_and_secrets_apart(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By variable or by file; a revoked one needs none, and lets nobody in."""
    (project / "erp").write_text(f"{STRONG}erp\n")
    more = '[[collector.keys]]\nname = "erp"\nsecret_file = "erp"\n[[collector.keys]]\nname = "old"\nrevoked = true\n'
    monkeypatch.setenv("ANLASS_COLLECTOR__KEY_SECRETS__WEB_SHOP", STRONG)
    collector = read(project, WEB + more).collector
    assert [(key.name, key.sent) for key in collector.all_keys] == [
        ("web-shop", "web_Tq3uYb0ZsNw81RkVdLhGxE5c"), ("erp", f"{STRONG}erp"),
    ]  # fmt: skip
    assert (collector.keyless, collector.server_key, weak_key(collector)) == (False, f"{STRONG}erp", None)
    monkeypatch.delenv("ANLASS_COLLECTOR__KEY_SECRETS__WEB_SHOP")
    only = read(project, '[[collector.keys]]\nname = "old"\nrevoked = true\n').collector
    assert (only.keyless, only.all_keys) == (False, ()), "keys that are all revoked do not open the door"


@pytest.mark.parametrize(
    ("text", "variables", "parts"),
    [
        (
            '[[collector.keys]]\nname = "erp"\nsecret = "x"\n',
            {},
            ["anlass.toml", "shared", "KEY_SECRETS__ERP", "secret_file"],
        ),
        ('[[collector.keys]]\nname = "erp"\n', {}, ["erp has no secret", "KEY_SECRETS__ERP"]),
        ('[[collector.keys]]\nname = "erp"\nsecret_file = "none"\n', {}, ["none", "cannot be read"]),
        ('[[collector.keys]]\nname = "a b"\n', {}, ["collector.keys.0.name"]),
        ('[[collector.keys]]\nname = "web"\nkind = "browser"\n', {}, ["no key", "anlass key new --browser web"]),
        ('[[collector.keys]]\nname = "erp"\norigins = ["https://shop.example"]\n', {}, ["origins", "browser"]),
        (WEB.replace("https://shop.example", "shop.example"), {}, ["shop.example", "https://"]),
        (WEB.replace("https://shop.example", "*"), {}, ["'*'", "https://"]),
        (WEB.replace("origins", "origin"), {}, ["no origin", "Did you mean origins?"]),
        (WEB + WEB, {}, ["two keys", "web-shop"]),
        ('[collector]\nkeys = ["x"]\n', {}, ["[[collector.keys]]"]),
        ('[collector.key_secrets]\nweb = "x"\n', {}, ["never stand here"]),
        ("", {"ANLASS_COLLECTOR__KEY_SECRETS__WEB": STRONG}, ["KEY_SECRETS__WEB", "no key"]),
        (WEB, {"ANLASS_COLLECTOR__KEY_SECRETS__WEB_SHOP": "web_Tq3uYb0ZsNw81RkVdLhGxE5c"}, ["secret as its key"]),
        (WEB, {"ANLASS_COLLECTOR__WRITE_KEYS": "web_Tq3uYb0ZsNw81RkVdLhGxE5c"}, ["same word"]),
        ('[collector]\nwrite_keys_file = "none"\n', {}, ["write_keys_file", "cannot be read"]),
        ('[collector]\nwrite_keys_file = "anlass.toml"\n', {"ANLASS_COLLECTOR__WRITE_KEYS": STRONG}, ["both set"]),
    ],
)
def test_keys_that_cannot_be_are_refused(
    text: str, variables: dict[str, str], parts: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mend, and without the secret."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (project / "anlass.toml").write_text(text)
    said = mistake(project)
    assert [part for part in parts if part not in said] == []
    assert STRONG not in said


def test_write_keys_come_from_a_file(project: Path) -> None:
    """One a line, or with commas; what follows a # is a comment. One that is empty is refused, and does not open the door."""
    (project / "keys").write_text(f"{STRONG}  # shop\n\n{STRONG}2,{STRONG}3\n")
    settings = read(project, '[collector]\nwrite_keys_file = "keys"\n')
    assert settings.collector.write_keys == {"key1": STRONG, "key2": f"{STRONG}2", "key3": f"{STRONG}3"}
    (project / "keys").write_text("# none\n")
    assert "holds no key" in mistake(project)


def test_write_keys_in_the_shared_file_are_warned_of(project: Path) -> None:
    """Those of a project of before are taken."""
    settings = read(project, f'[collector]\nwrite_keys = ["{STRONG}"]\n')
    assert settings.collector.write_keys == {"key1": STRONG}
    assert any("write_keys stand in anlass.toml" in line for line in explain(settings))
    assert read(project, "").shared == ()


@pytest.mark.parametrize(
    "key",
    [
        "a", "change-me", "k1", "secret-key", "1234567890123456789012345678901234567890", "a" * 64, "change-me" * 8,
        "0123456789abcdef0123456789abcdef", "correct-horse-battery-staple", "a-key-of-sixteen-or-more-characters",
        "passwordpasswordpasswordpassword", "abcdefghijklmnopqrstuvwxyz0123", "qwertyuiopasdfghjklzxcvbnm1234567890",
        "-" * 40, "Summer2026Summer2026Summer2026",
    ],
)  # fmt: skip
def test_a_key_that_can_be_guessed_is_refused(key: str) -> None:
    """Short ones, words, sequences, repetitions; of both kinds; the sentence does not repeat it, and says the mend."""
    server = weak_key(CollectorSection(write_keys={"shop": key}))
    browser = weak_key(CollectorSection(keys=(KeySection(name="web", kind="browser", key=key),)))
    for wrong, mend in ((server, "anlass key new shop"), (browser, "anlass key new --browser web")):
        assert wrong is not None
        assert mend in str(wrong)
        assert len(key) < 9 or key not in str(wrong)


def test_random_keys_are_taken() -> None:
    """As `openssl rand` makes them in hex and in base64, as Python does, and UUIDs."""
    made = [secrets.token_hex(16) for _ in range(200)] + [secrets.token_urlsafe(16) for _ in range(200)]
    made += [base64.b64encode(secrets.token_bytes(16)).decode() for _ in range(200)] + [str(uuid.uuid4())]
    refused = [key for key in made if weakness(key)]
    assert len(refused) <= 3, refused
