"""docker-compose.embedded.yml and Dockerfile agree with the settings, the defaults and the tree. They are not started here."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from engine.cli import main
from engine.cli.entry import anlass
from engine.settings import CollectorSection, DatabaseSection, Settings, load_settings, weak_key
from tests.docs.page import ROOT

PROJECT = "/project"
_HOLE = re.compile(r"\$\{\w+:-([^}]*)\}")
_NEEDED = re.compile(r"\$\{\w+:\?[^}]*\}")
KEY = "mWq0T3nYvR8kZc5LxB1dHf7s"


@pytest.fixture
def compose() -> Any:
    """The file, with its variables at their defaults."""
    text = (ROOT / "docker-compose.embedded.yml").read_text("utf-8")
    return YAML(typ="safe").load(_NEEDED.sub(KEY, _HOLE.sub(r"\1", text)))


@pytest.fixture
def dockerfile() -> list[tuple[str, str]]:
    """(instruction, the rest) of each line."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


@pytest.fixture
def settings(compose: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the service in the container would read: the shipped anlass.toml and the variables."""
    for name, value in compose["services"]["anlass"]["environment"].items():
        assert name.startswith("ANLASS_")
        monkeypatch.setenv(name, value)
    return load_settings(ROOT)


def test_every_variable_is_a_setting_and_none_is_left_over(settings: Settings) -> None:
    """The settings' own reader takes them all: a misspelt one would be refused, one of a later part reported."""
    assert settings.later == ()
    assert settings.email.configured
    assert settings.collector.write_keys


def test_a_misspelt_variable_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the check above can fail."""
    monkeypatch.setenv("ANLASS_EMAIL__HOTS", "mailbox")
    with pytest.raises(Exception, match="ANLASS_EMAIL__HOTS"):
        load_settings(ROOT)


def test_the_collector_is_reached_where_the_ports_say(
    compose: Any, settings: Settings, dockerfile: list[tuple[str, str]]
) -> None:
    """It listens on every address of the container, on the default port, published on this machine only."""
    port = CollectorSection().port
    assert settings.collector.bind == "0.0.0.0"  # noqa: S104 - inside a container
    assert settings.collector.port == port
    console = settings.console
    assert console.host == "0.0.0.0"  # noqa: S104 - inside a container
    published = [f"127.0.0.1:{each}:{each}" for each in (port, console.port)]
    assert compose["services"]["anlass"]["ports"] == published
    [exposed] = [rest.split() for instruction, rest in dockerfile if instruction == "EXPOSE"]
    assert {str(port), str(console.port)} <= set(exposed)
    health = compose["services"]["anlass"]["healthcheck"]["test"]
    assert health[0] == "CMD"
    assert f"127.0.0.1:{console.port}/readyz" in health[-1]
    compile(health[-1], "healthcheck", "exec")


def test_mail_goes_to_the_service_beside_it(compose: Any, settings: Settings) -> None:
    """The host is the other service's name, and it starts first."""
    assert settings.email.host in compose["services"]
    assert settings.email.host in compose["services"]["anlass"]["depends_on"]
    assert settings.email.tls == "none"
    assert settings.email.from_


def test_everything_that_is_kept_lies_in_the_volume(compose: Any, dockerfile: list[tuple[str, str]]) -> None:
    """The default database is in `var/` of the project that the container runs, and that is the volume."""
    folder = f"{PROJECT}/{DatabaseSection().url.removeprefix('sqlite:///').rpartition('/')[0]}"
    [volume] = compose["services"]["anlass"]["volumes"]
    name, _, target = volume.partition(":")
    assert target == folder
    assert name in compose["volumes"]
    assert ("VOLUME", folder) in dockerfile


def test_the_image_copies_what_there_is(dockerfile: list[tuple[str, str]]) -> None:
    """Every source of a COPY exists and is not kept out of the build; the package gets all that its metadata names."""
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    copies = [rest.split() for instruction, rest in dockerfile if instruction == "COPY"]
    sources = [name for words in copies if not words[0].startswith("--from=") for name in words[:-1]]
    for name in sources:
        assert (ROOT / name).exists(), name
        assert name not in ignored, name
    assert {"pyproject.toml", "requirements.lock", "README.md", "LICENSE", "anlass", "engine", "channels"} <= set(
        sources
    )
    assert 'readme = "README.md"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_image_runs_a_command_that_there_is(dockerfile: list[tuple[str, str]]) -> None:
    """`anlass run` takes these arguments."""
    [command] = [json.loads(rest) for instruction, rest in dockerfile if instruction == "CMD"]
    assert callable(main)
    assert command[0] == "anlass"
    assert CliRunner().invoke(anlass, [*command[1:], "--help"]).exit_code == 0
    assert command[-2:] == ["--project", PROJECT]


def test_the_container_does_not_run_as_root(dockerfile: list[tuple[str, str]]) -> None:
    """The user is made before it is used, and owns the folder it writes to."""
    made = " ".join(rest for instruction, rest in dockerfile if instruction == "RUN")
    [user] = [rest for instruction, rest in dockerfile if instruction == "USER"]
    words = shlex.split(made)
    assert user != "root"
    assert user in words
    assert words[words.index("chown") + 1 :] == [user, "var"]


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.embedded.yml"])
def test_every_container_has_no_more_than_it_needs(file: str) -> None:
    """Read-only but for what is listed, no capabilities but those that are listed, no way to more."""
    writes = {"kafka": "its start writes its configuration"}
    capable = {"postgres": {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}}
    services = YAML(typ="safe").load((ROOT / file).read_text("utf-8"))["services"]
    for name, service in services.items():
        assert service["read_only"] is (name not in writes), name
        assert service["cap_drop"] == ["ALL"], name
        assert set(service.get("cap_add", [])) == capable.get(name, set()), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"]), name
        image = service.get("image", "")
        assert not image or re.fullmatch(
            r".+(:v?\d+(\.\d+)+[\w.-]*|@sha256:[0-9a-f]{64}|\{ANLASS_TAG:-local\})", image
        ), name


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.embedded.yml"])
def test_no_key_is_the_same_for_everybody(file: str) -> None:
    """The write key has to be said; without one nothing starts."""
    text = (ROOT / file).read_text("utf-8")
    assert "${ANLASS_WRITE_KEY:?" in text
    assert "change-me" not in text
    assert (ROOT / ".gitignore").read_text("utf-8").split().count(".env") == 1
    assert (ROOT / ".dockerignore").read_text("utf-8").split().count(".env") == 1


def test_the_image_is_made_of_what_has_a_hash(dockerfile: list[tuple[str, str]]) -> None:
    """One stage fetches, by hash, and builds; the other takes nothing but its outcome. The base has a version or a digest."""
    [base] = [rest.partition("=")[2] for instruction, rest in dockerfile if instruction == "ARG"]
    assert re.fullmatch(r"[\w./-]+(:\d+\.\d+\.\d+-[\w-]+)?(@sha256:[0-9a-f]{64})?", base)
    assert [rest.split()[0] for instruction, rest in dockerfile if instruction == "FROM"] == ["${PYTHON_IMAGE}"] * 2
    pips = [rest for instruction, rest in dockerfile if instruction == "RUN" and "pip " in rest]
    assert [
        "--require-hashes -r requirements.lock" in pip or "--no-index --find-links /wheels" in pip for pip in pips
    ] == [True] * 2
    assert weak_key(CollectorSection(write_keys={"shop": KEY})) is None
