"""Every YAML, INI and Dockerfile block of the pages is one that its reader accepts, and defects are seen."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from command_lines import code_spans
from config_blocks import CONFIGS, FILES, KINDS, Config, configs, problems
from pages import ROOT
from validate.checks import fences
from validate.document import parse

AT_LEAST = {"compose": 1, "dockerfile": 1, "kubernetes": 2, "pre-commit": 1, "supervisor": 1, "systemd": 1}


# One right block of each kind, for defects to be put into; the pages' own may change.
GOOD = {
    "kubernetes": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  replicas: 3
  selector: {matchLabels: {app: worker}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: worker}}
    spec:
      terminationGracePeriodSeconds: 360
      securityContext: {runAsNonRoot: true}
      containers:
        - name: worker
          image: shop:1.42.0
          resources: {limits: {memory: 1Gi}}
          livenessProbe: {exec: {command: ["true"]}, failureThreshold: 30}
""",
    "keda": """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker}
spec:
  scaleTargetRef: {name: worker}
  minReplicaCount: 1
  maxReplicaCount: 10
  triggers:
    - type: rabbitmq
      metadata: {hostFromEnv: BROKER, queueName: default, mode: QueueLength, value: "20"}
""",
    "compose": """\
services:
  redis:
    image: redis:8
    volumes: [redis-data:/data]
  worker: &celery
    image: shop:1.42.0
    init: true
    stop_grace_period: 6m
    depends_on: [redis]
  beat:
    <<: *celery
    init: false
volumes:
  redis-data: {}
""",
    "systemd": """\
# /etc/systemd/system/worker.service
[Service]
Type=exec
ExecStart=/srv/shop/.venv/bin/celery -A shop worker
KillMode=mixed
TimeoutStopSec=360
Restart=always

[Install]
WantedBy=multi-user.target
""",
    "supervisor": """\
[program:worker]
command=/srv/shop/.venv/bin/celery -A shop worker -n default@%%h
user=shop
autorestart=true
stopwaitsecs=360
stopasgroup=false
killasgroup=true
""",
    "pre-commit": """\
repos:
  - repo: PATH
    rev: TAG
    hooks:
      - id: celery-audit
        args: [--baseline, celery_audit.json]
""",
    "dockerfile": """\
FROM python:3.13-slim
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
USER 10001
CMD ["celery", "-A", "shop", "worker"]
""",
}
LANGUAGES = {"systemd": "ini", "supervisor": "ini", "dockerfile": "dockerfile"}


def reader(kind: str) -> str:
    return "kubernetes" if kind == "keda" else kind


@pytest.mark.parametrize("kind", GOOD)
def test_right_block_is_accepted(kind: str) -> None:
    [config] = configs(FILES[0], f"```{LANGUAGES.get(kind, 'yaml')}\n{GOOD[kind]}```\n")
    assert config.kind == reader(kind)
    assert problems(config.kind, config.fence.content) == []


@pytest.mark.parametrize("config", [pytest.param(config, id=config.place) for config in CONFIGS])
def test_block_is_accepted(config: Config) -> None:
    assert config.kind in KINDS, f"{config.place}: no reader for this {config.fence.info!r} block; give it one in KINDS"
    assert not (found := problems(config.kind, config.fence.content)), f"{config.place}: {found}"


def test_enough_was_found() -> None:
    seen = Counter(config.kind for config in CONFIGS)
    lacking = {kind: (seen[kind], least) for kind, least in AT_LEAST.items() if seen[kind] < least}
    assert not lacking, f"(found, expected): {lacking}"
    assert AT_LEAST.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("kind", "old", "new", "says"),
    [
        ("pre-commit", "id: celery-audit", "id: celery_audit", "no hook 'celery_audit'"),
        ("pre-commit", "rev: TAG", "ref: TAG", "'rev' is a required property"),
        ("kubernetes", "  replicas: 3", "  replicsa: 3", "'replicsa' was unexpected"),
        ("kubernetes", "replicas: 3", 'replicas: "3"', "'3' is not of type 'integer'"),
        ("kubernetes", "          image: shop:1.42.0\n", "          imagePull: Always\n", "'imagePull' was unexpected"),
        (
            "kubernetes",
            "          resources:",
            "          terminationGracePeriodSeconds: 360\n          resources:",
            "'terminationGracePeriodSeconds' was unexpected",
        ),
        ("kubernetes", "failureThreshold: 30", "failureTreshold: 30", "'failureTreshold' was unexpected"),
        ("kubernetes", "runAsNonRoot: true", "runAsNonRoot: yes please", "is not of type 'boolean'"),
        (
            "kubernetes",
            "labels: {app: worker}",
            "labels: {app: beat}",
            "does not match the template's labels",
        ),
        ("kubernetes", "maxSurge: 1", "maxSurge: 0", "both 0"),
        ("kubernetes", "{rollingUpdate", "{type: Recreate, rollingUpdate", "beside the type Recreate"),
        ("kubernetes", "memory: 1Gi", "memory: 1GB", "'1GB' is no quantity"),
        ("kubernetes", "apiVersion: apps/v1\n", "apiVersion: apps/v1beta1\n", "no such kind"),
        ("kubernetes", "kind: Deployment", "kind: Deploiment", "no such kind"),
        ("kubernetes", "spec:\n", "spec: {}\nspec:\n", "'spec' stands twice"),
        ("keda", "minReplicaCount", "minReplicas", "'minReplicas' was unexpected"),
        ("keda", 'value: "20"', "value: 20", "20 is not of type 'string'"),
        ("keda", "mode: QueueLength", "mode: QueueLenght", "'QueueLenght' is not one of"),
        ("keda", "hostFromEnv", "hostFromEnvironment", "hostFromEnvironment"),
        ("keda", "maxReplicaCount: 10", 'maxReplicaCount: "10"', "'10' is not of type 'integer'"),
        ("keda", "type: rabbitmq", "type: rabbit", "no schema for the trigger 'rabbit'"),
        ("compose", "stop_grace_period: 6m", "stop_grace_priod: 6m", "'stop_grace_priod' was unexpected"),
        ("compose", "stop_grace_period: 6m", "stop_grace_period: 6 minutes", "no duration"),
        ("compose", "init: true", "init: [true]", "is not of type"),
        ("compose", "depends_on: [redis]", "depends_on: [rabbit]", "'rabbit', which is no service"),
        ("compose", "volumes:\n  redis-data: {}\n", "", "'redis-data', which is no volume"),
        ("compose", "  redis:\n", "  worker: {image: a}\n  redis:\n", "'worker' stands twice"),
        ("compose", "volumes:\n  redis-data", "volume:\n  redis-data", "'volume' does not match"),
        ("systemd", "KillMode", "KilMode", "Unknown key"),
        ("systemd", "KillMode=mixed", "KillMode=gentle", "Failed to parse kill mode"),
        ("systemd", "TimeoutStopSec=360", "TimeoutStopSec=long", "Failed to parse"),
        ("systemd", "[Service]", "[Servise]", "Unknown section"),
        ("systemd", "ExecStart=/srv", "ExecStart=srv", "Neither a valid executable"),
        ("systemd", "Restart=always", "Restart=ever", "Failed to parse"),
        ("supervisor", "stopwaitsecs=", "stopwaitsec=", "no key 'stopwaitsec'"),
        ("supervisor", "stopwaitsecs=360", "stopwaitsecs=6m", "invalid literal"),
        ("supervisor", "autorestart=true", "autorestart=always", "invalid 'autorestart' value"),
        ("supervisor", "killasgroup=true", "killasgroup=maybe", "not a valid boolean"),
        ("supervisor", "%%h", "%h", "format"),
        ("supervisor", "command=", "commando=", "does not specify a command"),
        ("supervisor", "stopasgroup=false\nkillasgroup=true", "stopasgroup=true\nkillasgroup=false", "stopasgroup"),
        ("dockerfile", "python:3.13-slim", "python", "DL3006"),
        ("dockerfile", "python:3.13-slim", "python:latest", "DL3007"),
        ("dockerfile", 'CMD ["celery", "-A", "shop", "worker"]', "CMD celery -A shop worker", "DL3025"),
        ("dockerfile", "--no-cache-dir -r requirements.txt", "--no-cache-dir celery", "DL3013"),
        ("dockerfile", "WORKDIR /app", "WORKDIR app", "DL3000"),
        ("dockerfile", "USER 10001", "USERS 10001", "missing whitespace"),
        ("dockerfile", "USER 10001", "USER root", "DL3002"),
    ],
)
def test_defect_is_seen(kind: str, old: str, new: str, says: str) -> None:
    assert old in GOOD[kind]
    found = problems(reader(kind), GOOD[kind].replace(old, new, 1))
    assert re.search(says, "\n".join(found)), found


@pytest.mark.parametrize(
    "block",
    ["```yaml\ngroups:\n  - name: a\n```", "```ini\n[tool]\na=1\n```", "```toml\na = 1\n```", "```yaml\n- a\n```"],
)
def test_a_block_without_reader_is_seen(block: str) -> None:
    [config] = configs(FILES[0], block + "\n")
    assert config.kind not in KINDS


def test_systemd_keys_in_prose_exist() -> None:
    """`KillMode=mixed` in a sentence is a key of `[Service]` too."""
    inspected = 0
    for path in FILES:
        for line, span in code_spans(path.read_text()):
            if re.fullmatch(r"[A-Z][a-z]+[A-Za-z]*=\S+", span):
                inspected += 1
                found = problems("systemd", f"[Service]\nExecStart=/bin/true\n{span}\n")
                assert not found, f"{path.relative_to(ROOT)}:{line}: {found}"
    assert inspected >= 3


@pytest.mark.parametrize("kind", GOOD)
def test_configuration_under_a_python_fence_is_a_finding(kind: str) -> None:
    document = parse("SKILL.md", f'```python title="a.py"\n{GOOD[kind]}```\n')
    assert list(fences.python(document))
