"""The Helm chart: its values keep their schema, its settings are settings, and its templates name only values that there are.

Rendering needs Helm. Where Helm is installed the rendered objects are looked at as well; where it is not, those tests do not
exist, and the run says nothing about what the templates render to.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from engine import __version__
from engine.cli.entry import COMMANDS
from engine.settings import load_settings

CHART = Path(__file__).resolve().parent.parent.parent / "deploy" / "helm" / "anlass"
DATABASE = "postgresql://anlass@db/anlass"
ON_KAFKA: dict[str, Any] = {
    "mode": "kafka",
    "kafka.bootstrap": "k1:9092,k2:9092",
    "settings.ANLASS_DATABASE__URL": DATABASE,
}
WRONG: dict[str, dict[str, Any]] = {
    "another mode": {"mode": "rabbit"},
    "a misspelt value": {"replicas": 2},
    "a misspelt value inside": {"embedded.storge": "1Gi"},
    "Kafka without a broker": {**ON_KAFKA, "kafka.bootstrap": ""},
    "Kafka without a database": {"mode": "kafka", "kafka.bootstrap": "k1:9092"},
    "a secret among the settings": {"settings.ANLASS_EMAIL__PASSWORD": "hunter2"},
    "a setting of somebody else": {"settings.PATH": "/"},
    "a digest that is none": {"image.digest": "latest"},
    "too few replicas": {"kafka.roles.worker.replicas": -1},
    "no write keys": {"secret.keys": {"ANLASS_COLLECTOR__SECRET": "link-secret"}},
}


def _values() -> dict[str, Any]:
    read: dict[str, Any] = YAML(typ="safe").load((CHART / "values.yaml").read_text("utf-8"))
    return read


def _changed(changes: dict[str, Any]) -> dict[str, Any]:
    values = copy.deepcopy(_values())
    for path, value in changes.items():
        *folders, name = path.split(".")
        place = values
        for folder in folders:
            place = place[folder]
        place[name] = value
    return values


def _problems(values: dict[str, Any]) -> list[str]:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    return [error.message for error in Draft7Validator(schema).iter_errors(values)]


def _templates() -> Iterator[tuple[str, str]]:
    for path in sorted((CHART / "templates").iterdir()):
        yield path.name, path.read_text("utf-8")


@pytest.mark.parametrize("changes", [{}, ON_KAFKA], ids=["embedded", "kafka"])
def test_the_values_keep_the_schema(changes: dict[str, Any]) -> None:
    """As shipped, and on Kafka with what it asks for."""
    assert _problems(_changed(changes)) == []


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_are_refused(what: str) -> None:
    """Before anything reaches a cluster."""
    assert _problems(_changed(WRONG[what])) != []


def test_every_value_is_in_the_schema_and_every_template_uses_values_that_there_are() -> None:
    """`.Values.a.b` in a template is a value of values.yaml."""
    values = _values()
    for name, text in _templates():
        for path in re.findall(r"\.Values\.([A-Za-z.]+)", text):
            place: Any = values
            for part in path.split("."):
                assert part in place, f"{name} uses .Values.{path}"
                place = place[part]


def test_what_is_shipped_as_settings_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings' own reader takes every variable that the chart sets, by value, secret or template."""
    values = _changed(ON_KAFKA)
    given = dict(values["settings"]) | dict.fromkeys(values["secret"]["keys"], "x" * 40)
    text = "".join(text for _, text in _templates())
    given |= {
        name: "8081" if name.endswith("PORT") else "12" if name.endswith("PARTITIONS") else "k1"
        for name in set(re.findall(r"name: (ANLASS_\w+)", text))
    }
    for name, value in given.items():
        monkeypatch.setenv(name, f"shop:{value}" if name.endswith("WRITE_KEYS") else value)
    settings = load_settings(tmp_path)
    assert settings.kafka.configured
    assert settings.console.port == 8081
    assert settings.later == ()


def test_the_roles_are_commands_and_the_versions_are_ours() -> None:
    """Each role is started by a command of its name; chart and image have the version of the engine."""
    assert set(_values()["kafka"]["roles"]) <= COMMANDS.keys()
    chart = YAML(typ="safe").load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__.partition(".dev")[0]


def _rendered(changes: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    file = folder / "values.json"
    file.write_text(json.dumps(_changed(changes)), "utf-8")
    helm = shutil.which("helm")
    assert helm is not None
    command = [helm, "template", "shop", str(CHART), "--values", str(file), "--kube-version", "1.29.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in YAML(typ="safe").load_all(done.stdout) if each]


def _pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in objects:
        if "template" in each.get("spec", {}):
            yield each["spec"]["template"]


def _renders_embedded(tmp_path: Path) -> None:
    """One process with a volume; the service leads to it."""
    objects = _rendered({"ingress.enabled": True}, tmp_path)
    [process] = [each for each in objects if each["kind"] == "StatefulSet"]
    assert process["spec"]["replicas"] == 1
    assert [each["metadata"]["name"] for each in process["spec"]["volumeClaimTemplates"]] == ["var"]
    [pod] = _pods(objects)
    for service in (each for each in objects if each["kind"] == "Service"):
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert {each["kind"] for each in objects} == {"StatefulSet", "Service", "Ingress"}


def _renders_kafka(tmp_path: Path) -> None:
    """A deployment for each role and a job that publishes; every pod is hardened and says what it needs."""
    objects = _rendered(ON_KAFKA, tmp_path)
    assert sorted(each["kind"] for each in objects) == ["Deployment"] * 4 + ["Job"] + ["Service"] * 2
    for pod in _pods(objects):
        spec = pod["spec"]
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        [container] = spec["containers"]
        assert container["args"][0] == "anlass"
        assert container["args"][1] in COMMANDS
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        env = {each["name"]: each.get("value") for each in container["env"]}
        assert env["ANLASS_KAFKA__BOOTSTRAP"] == "k1:9092,k2:9092"
        assert env["ANLASS_CONSOLE__HOSTS"] == "shop-anlass-operators"
        assert {each["name"] for each in spec["volumes"]} == {each["name"] for each in container["volumeMounts"]}


RENDERS: dict[str, Callable[[Path], None]] = {"embedded": _renders_embedded, "kafka": _renders_kafka}

if shutil.which("helm") is not None:

    @pytest.mark.parametrize("mode", RENDERS)
    def test_what_helm_renders(mode: str, tmp_path: Path) -> None:
        """The objects are what the guide says."""
        RENDERS[mode](tmp_path)
