"""A store and its key belong together: what was lost is said before anybody who was suppressed is written to."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

import pytest

from engine.errors import StorageError
from engine.runtimes.embedded import suppression
from engine.runtimes.embedded.store import EmbeddedOptions, Store
from engine.settings import load_settings


def opened(var: Path, *, accept_loss: bool = False) -> Store:
    store = Store(var, options=EmbeddedOptions(accept_loss=accept_loss))
    store.open()
    return store


def lived_in(var: Path, *, text: str = "email:ana@bücher.example") -> None:
    """A store as an older version left it: a hash by the old rule, no fingerprint of the key."""
    store = opened(var)
    with store.transaction() as connection:
        row = (store.keyed_hash(text), "email", "bounced", 1)
        connection.execute("INSERT INTO suppressed_addresses (hash, channel, reason, at_ms) VALUES (?, ?, ?, ?)", row)
        connection.execute("DELETE FROM progress WHERE name = 'hash_key'")
    store.close()


@pytest.mark.parametrize(
    "text",
    [
        "email:ana@bücher.example",
        "email:ana@xn--bcher-kva.example",
        "email:ana@bücher.example.",
        "email:<ana@bücher.example>",
    ],
)
def test_what_an_older_version_suppressed_stays_suppressed(tmp_path: Path, text: str) -> None:
    """Under every form in which a customer says the address now."""
    lived_in(tmp_path, text=text)
    store = opened(tmp_path)
    for said in ("Ana@bücher.example", "ana@XN--bcher-kva.example"):
        assert suppression.find(store, [("email", said)]) == {("email", said): "bounced:1"}
    assert suppression.find(store, [("email", "bob@bücher.example"), ("sms", "ana@bücher.example")]) == {}
    store.close()


@pytest.mark.parametrize("content", [None, b""])
def test_a_lost_key_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Missing or empty: nothing is opened, nothing is made, and the sentence says what to do; accepted, it goes on."""
    lived_in(tmp_path)
    key = tmp_path / "secret.key"
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(StorageError, match=r"missing: no suppressed address.*--accept-loss"):
        opened(tmp_path)
    assert not key.exists() or not key.stat().st_size
    opened(tmp_path, accept_loss=True).close()
    opened(tmp_path).close()


def test_another_key_is_refused_and_the_right_one_is_taken_again(tmp_path: Path) -> None:
    """Told by the fingerprint that the store keeps; a store without hashes loses nothing."""
    lived_in(tmp_path)
    opened(tmp_path).close()
    key = tmp_path / "secret.key"
    kept = key.read_bytes()
    key.write_bytes(secrets.token_bytes(32))
    with pytest.raises(StorageError, match="another key"):
        opened(tmp_path)
    key.write_bytes(kept)
    opened(tmp_path).close()
    fresh = tmp_path / "fresh"
    opened(fresh).close()
    (fresh / "secret.key").unlink()
    opened(fresh).close()


@pytest.mark.parametrize("left", ["secret.key", "audit.jsonl"])
@pytest.mark.parametrize("content", [None, b""])
def test_a_store_that_is_gone_is_no_new_shop(tmp_path: Path, left: str, content: bytes | None) -> None:
    """Missing or empty beside what only a life leaves behind."""
    (tmp_path / left).write_bytes(secrets.token_bytes(32))
    if content is not None:
        (tmp_path / "anlass.db").write_bytes(content)
    with pytest.raises(StorageError, match=r"anlass\.db is (missing|empty), but .*--accept-loss"):
        opened(tmp_path)
    opened(tmp_path, accept_loss=True).close()


def test_a_first_start_that_was_cut_off_starts(tmp_path: Path) -> None:
    """An empty database with nothing beside it, also with the secret of links, which is made elsewhere."""
    (tmp_path / "anlass.db").touch()
    (tmp_path / "link-secret").write_text("x" * 64)
    opened(tmp_path).close()


def test_the_key_of_hashes_outlives_the_secret_of_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine it is another file; on a cluster it is its own setting, which takes over what the secret of links was."""
    monkeypatch.setenv("ANLASS_COLLECTOR__SECRET", "the first secret of links")
    lived_in(tmp_path / "var")
    before = load_settings(tmp_path).hash_secret()
    assert before == load_settings(tmp_path).link_secret(), "as clusters began"
    monkeypatch.setenv("ANLASS_COLLECTOR__SECRET", "the second secret of links")
    monkeypatch.setenv("ANLASS_KAFKA__SECRET", before.decode())
    settings = load_settings(tmp_path)
    assert settings.hash_secret() == before != settings.link_secret()
    store = opened(tmp_path / "var")
    assert suppression.find(store, [("email", "ana@bücher.example")])
    store.close()
    from engine.project.cluster import Cluster

    monkeypatch.setenv("ANLASS_KAFKA", "127.0.0.1:9")
    key = Cluster(load_settings(tmp_path)).address_key("email", "ana@x.example")
    assert key == hmac.digest(before, b"email:ana@x.example", "sha256")
