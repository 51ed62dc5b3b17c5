"""docker-compose.yml, its Prometheus and its Grafana agree with the settings, the commands, the ports and the metrics.

Nothing of it is started here: there is no Docker where the tests run. What can be compared is.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML

from engine.cli.entry import COMMANDS, anlass
from engine.dispatch.sending.dispatcher import DispatchOptions
from engine.errors import ServiceUnreachable
from engine.runtimes.kafka.group import app, host
from engine.settings import CollectorSection, Settings, load_settings
from engine.telemetry import Metrics
from tests.docs.page import ROOT
from tests.services.debian import unpack
from tests.services.kafka_jars import locked, version

PROMETHEUS = ROOT / ".cache" / "prometheus"
STACK = ROOT / "docs" / "operators" / "stack"
DASHBOARD = STACK / "grafana" / "dashboards" / "anlass.json"
ROLES = ("collector", "worker", "dispatcher", "sink")
OURS = ("deploy", *ROLES)
SECRETS = "/run/secrets/"
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"}
TARGET_LABELS = {"job", "instance", "le"}
_HOLE = re.compile(r"\$\{\w+:-([^}]*)\}")
_NEEDED = re.compile(r"\$\{\w+:\?[^}]*\}")
KEY = "mWq0T3nYvR8kZc5LxB1dHf7s"
_METRIC = re.compile(r"\b((?:anlass|process)_\w+)\b(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_BY = re.compile(r"\bby \(([^)]*)\)")


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(_NEEDED.sub(KEY, _HOLE.sub(r"\1", path.read_text("utf-8"))))


@pytest.fixture(scope="module")
def compose() -> Any:
    """The file, with its variables at their defaults."""
    return _yaml(ROOT / "docker-compose.yml")


@pytest.fixture
def settings(compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Settings]:
    """What each of our services reads in its container; its secrets lie in a folder of the test."""
    for name in compose["secrets"]:
        (tmp_path / name).write_text("0123456789abcdef0123456789abcdef", "utf-8")
    found = {}
    for service in OURS:
        with monkeypatch.context() as patch:
            for name, value in compose["services"][service]["environment"].items():
                assert name.startswith("ANLASS_")
                patch.setenv(name, value.replace(SECRETS, f"{tmp_path}/"))
            found[service] = load_settings(ROOT)
    return found


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)(s|m)", text)
    assert match, text
    return int(match[1]) * {"s": 1, "m": 60}[match[2]]


# ---------------------------------------------------------------------------------------------------------- the roles


def test_every_variable_is_a_setting(settings: dict[str, Settings]) -> None:
    """The settings' own reader takes all of them, and knows what each is for."""
    for service, read in settings.items():
        assert read.later == (), service
        assert read.kafka.configured
        assert read.database.is_postgresql
        assert "0123456789abcdef" in read.journal_url, "the password comes from its file"
        assert read.collector.secret is not None
        assert read.collector.write_keys


def test_all_roles_share_what_they_must(settings: dict[str, Settings]) -> None:
    """Links are signed and customers disguised by one secret; topics are found under one prefix."""
    for part in ("kafka", "database"):
        assert len({getattr(read, part).model_dump_json() for read in settings.values()}) == 1
    assert len({read.link_secret() for read in settings.values()}) == 1


@pytest.mark.parametrize("service", OURS)
def test_a_service_runs_a_command_that_there_is(compose: Any, service: str) -> None:
    """And with arguments that the command takes."""
    words = compose["services"][service]["command"]
    assert words[0] == "anlass"
    assert words[1] in COMMANDS, f"there is no command {words[1]}"
    command = anlass.get_command(click.Context(anlass), words[1])
    assert command is not None
    arguments = [str(ROOT) if word == "/project" else word for word in words[2:]]
    command.make_context(words[1], arguments)
    with pytest.raises(click.UsageError):
        command.make_context(words[1], [*arguments, "--no-such-option"])


def test_a_service_is_asked_where_it_listens(compose: Any, settings: dict[str, Settings]) -> None:
    """Health checks and Prometheus use the ports of the settings; the status page listens beyond the container."""
    for service in ROLES:
        read = settings[service]
        host, port, asked = read.kafka.status_door(read.console)
        assert asked
        assert host == "0.0.0.0"  # noqa: S104 - inside a container
        health = compose["services"][service]["healthcheck"]["test"]
        assert f"127.0.0.1:{port}/readyz" in health[-1]
        compile(health[-1], "healthcheck", "exec")
        assert _scraped()[service] == port
    port = CollectorSection().port
    assert compose["services"]["collector"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    [exposed] = [
        line.split()[1:] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("EXPOSE")
    ]
    assert {str(port), str(settings["worker"].console.port)} == set(exposed)


def test_what_is_needed_is_beside_it(compose: Any, settings: dict[str, Settings]) -> None:
    """Hosts in the settings are services, reached on a port they listen on, with the user they make."""
    services = compose["services"]
    read = settings["worker"]
    assert read.kafka.bootstrap == "kafka:9092"
    kafka = services["kafka"]["environment"]
    assert f"INSIDE://{read.kafka.bootstrap}" in kafka["KAFKA_ADVERTISED_LISTENERS"]
    assert "INSIDE://:9092" in kafka["KAFKA_LISTENERS"]
    outside = re.findall(r"OUTSIDE://([\d.]+:\d+)", kafka["KAFKA_ADVERTISED_LISTENERS"])
    assert services["kafka"]["ports"] == [f"{outside[0]}:{outside[0].partition(':')[2]}"]
    url, postgres = urlsplit(read.database.url), services["postgres"]["environment"]
    assert (url.hostname, url.username, url.path) == (
        "postgres", postgres["POSTGRES_USER"], f"/{postgres['POSTGRES_DB']}",
    )  # fmt: skip
    assert postgres["POSTGRES_PASSWORD_FILE"] == f"{SECRETS}postgres-password"
    assert read.email.host in services
    assert read.email.from_


def test_the_roles_end_in_order(compose: Any) -> None:
    """Docker waits longer than a role takes to finish its batch and its sends, and to close."""
    needed = 1.5 * app.STOP_SECONDS_MAX + host.STOP_SECONDS_MAX + DispatchOptions().stop_seconds_max
    for service in ROLES:
        assert _seconds(compose["services"][service]["stop_grace_period"]) > needed


def test_the_broker_is_the_one_of_the_tests(compose: Any) -> None:
    """What is shipped is what was tested."""
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{version()}"


def test_one_copy_of_kafkas_own_topics_on_one_broker(compose: Any) -> None:
    """With the defaults (three) a single broker could not make them, and no group would ever come together."""
    kafka = compose["services"]["kafka"]["environment"]
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    for name in ("OFFSETS_TOPIC", "TRANSACTION_STATE_LOG", "SHARE_COORDINATOR_STATE_TOPIC"):
        assert kafka[f"KAFKA_{name}_REPLICATION_FACTOR"] == "1"


# ------------------------------------------------------------------------------------------------------------- compose


def test_every_service_is_bounded_pinned_and_comes_back(compose: Any) -> None:
    """Limits, a version, a policy of restarts, logs that do not fill the disk."""
    for name, service in compose["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= limits.keys(), name
        image, _, tag = _HOLE.sub(r"\1", service["image"]).rpartition(":")
        assert image, name
        assert re.search(r"\d", tag) or service.get("build") == ".", f"{name}: {tag}"
        assert tag != "latest"
        assert service["restart"] == ("on-failure:3" if name == "deploy" else "unless-stopped")
        assert service["logging"]["options"]["max-size"]


def test_nothing_is_published_beyond_this_machine(compose: Any) -> None:
    """Kafka and the pages have no login here."""
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) >= 5
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_services_wait_for_what_they_need(compose: Any) -> None:
    """Whoever is waited for exists, and can become what is waited for."""
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            assert other in services, f"{name} waits for {other}"
            health = services[other].get("healthcheck", {})
            if condition == "service_healthy":
                assert health.get("test"), f"{name} waits for the health of {other}"
            elif condition == "service_completed_successfully":
                assert not services[other]["restart"].startswith(("always", "unless")), other
            else:
                assert condition == "service_started"
    for role in ROLES:
        assert services[role]["depends_on"]["kafka"]["condition"] == "service_healthy"
        assert "deploy" in services[role]["depends_on"]


def test_volumes_and_secrets_are_declared_used_and_there(compose: Any) -> None:
    """Files that are mounted are in the tree; what is kept lies in named volumes."""
    used_volumes, used_secrets = set(), set()
    for service in compose["services"].values():
        used_secrets |= set(service.get("secrets", []))
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
                assert volume.endswith(":ro")
            else:
                used_volumes.add(source)
        for value in service.get("environment", {}).values():
            if value.startswith(SECRETS):
                assert value.removeprefix(SECRETS) in service["secrets"], value
    assert used_volumes == set(compose["volumes"])
    assert used_secrets == set(compose["secrets"])
    head = (ROOT / "docker-compose.yml").read_text().partition("\nname:")[0]
    for name, secret in compose["secrets"].items():
        assert secret["file"] == f"./var/secrets/{name}"
        assert name in head, "the file's head says how to make it"
    assert "var" in (ROOT / ".gitignore").read_text().replace("/", "").split()


def test_the_rows_lie_in_a_volume_that_the_image_prepares(compose: Any, settings: dict[str, Settings]) -> None:
    """`var/` of the project belongs to the container's user, and the roles write below it only."""
    for service in ROLES:
        assert "anlass-var:/project/var" in compose["services"][service]["volumes"]
        assert settings[service].kafka_folder.relative_to(ROOT).parts[0] == "var"


# ---------------------------------------------------------------------------------------------- Prometheus and Grafana


def _scraped() -> dict[str, int]:
    """Job → port, of those that are found by DNS; the name that is asked for is the job's."""
    jobs = {}
    for job in _yaml(STACK / "prometheus.yml")["scrape_configs"]:
        for found in job.get("dns_sd_configs", []):
            assert found["names"] == [job["job_name"]]
            jobs[job["job_name"]] = found["port"]
    return jobs


def _expressions() -> Iterator[tuple[str, str]]:
    """(where, expression) of every rule and every panel."""
    for group in _yaml(STACK / "alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def _metrics() -> dict[str, set[str]]:
    """Name of a sample → its labels."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    ours = {each._name: set(each._labelnames) for each in vars(metrics).values() if hasattr(each, "_labelnames")}
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {f"{family.name}{ending}": ours[family.name] for ending in endings}
    return found | {name: set() for name in PROCESS}


def _mistakes(expression: str) -> list[str]:
    """What stands in it and is not there."""
    known, used, wrong = _metrics(), set[str](), []
    for name, labels in _METRIC.findall(expression):
        if name not in known:
            wrong.append(name)
            continue
        used |= known[name]
        wrong += [f"{name}{{{label}}}" for label in _LABEL.findall(labels) if label not in known[name] | TARGET_LABELS]
    grouped = {label.strip() for labels in _BY.findall(expression) for label in labels.split(",")}
    return wrong + sorted(grouped - used - TARGET_LABELS)


def test_prometheus_scrapes_every_role(compose: Any) -> None:
    """All roles, all of them services; and it reads the rules that are mounted."""
    assert set(_scraped()) == set(ROLES)
    assert set(_scraped()) <= set(compose["services"])
    [rules] = _yaml(STACK / "prometheus.yml")["rule_files"]
    mounts = compose["services"]["prometheus"]["volumes"]
    assert f"./docs/operators/stack/{rules}:/etc/prometheus/{rules}:ro" in mounts
    assert "--config.file=/etc/prometheus/prometheus.yml" in compose["services"]["prometheus"]["command"]


@pytest.mark.parametrize(("where", "expression"), list(_expressions()), ids=lambda value: str(value)[:40])
def test_rules_and_panels_ask_for_what_there_is(where: str, expression: str) -> None:
    """Metrics, and labels of theirs."""
    assert _mistakes(expression) == [], where


def test_a_mistake_in_a_rule_is_found() -> None:
    """A metric, a label, or a grouping that does not exist."""
    assert _mistakes("rate(anlass_evnts_total[1m])") == ["anlass_evnts_total"]
    assert _mistakes('anlass_messages_total{chanel="x"}') == ["anlass_messages_total{chanel}"]
    assert _mistakes("sum by (channel) (anlass_lag_records)") == ["channel"]
    assert _mistakes("anlass_events") == ["anlass_events"]


def test_every_metric_is_on_the_dashboard() -> None:
    """What is measured can be seen."""
    shown = {name for _, expression in _expressions() for name, _ in _METRIC.findall(expression)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    measured = {re.sub(r"_(bucket|count|sum)$", "", name) for name in _metrics()}
    assert measured - families - PROCESS == set()


def test_jobs_in_the_rules_are_jobs() -> None:
    """`up{job=~…}` of a job that nobody scrapes would be silent for ever."""
    jobs = set(_scraped())
    named = {
        job
        for _, expression in _expressions()
        for jobs_named in re.findall(r'job=~?"([^"]+)"', expression)
        for job in jobs_named.split("|")
    }
    assert named
    assert named <= jobs


def test_grafana_finds_its_dashboard_and_its_source(compose: Any) -> None:
    """Paths, ids, and panels that do not lie on each other."""
    source = _yaml(STACK / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert urlsplit(source["url"]).hostname in compose["services"]
    provider = _yaml(STACK / "grafana/provisioning/dashboards/anlass.yml")["providers"][0]
    mounts = compose["services"]["grafana"]["volumes"]
    assert f"./docs/operators/stack/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == source["uid"]


@pytest.fixture
def promtool(outside: None) -> str:
    """The machine's, else that of Debian's package."""
    found = shutil.which("promtool")
    if found:
        return found
    root = PROMETHEUS / "root"
    try:
        with locked(PROMETHEUS / "lock"):
            if not root.exists():
                unpack(["prometheus"], root, mend="Install it (Debian and Ubuntu: apt install prometheus).")
    except ServiceUnreachable as error:
        pytest.skip(str(error))
    return str(root / "usr" / "bin" / "promtool")


@pytest.mark.timeout(600)
def test_promtool_takes_rules_and_configuration(promtool: str) -> None:
    """The expressions are PromQL, the templates of the annotations parse."""
    for kind, file in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        done = subprocess.run([promtool, "check", kind, STACK / file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
