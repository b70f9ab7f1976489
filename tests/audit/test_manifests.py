"""The reader of deployment files: YAML, INI, Dockerfiles, shell, and the Celery commands in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery_audit.audit import audit, chosen
from celery_audit.manifests import Node, Process, commands_in, processes, read_yaml, script_commands, words_of
from celery_audit.project import TextFile
from trees import write


def plain(node: Node) -> object:
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return {key: plain(item) for key, item in node.value.items()} if isinstance(node.value, dict) else node.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb:\n  c: d # why\n", {"a": "1", "b": {"c": "d"}}),
        ("a:\n- x\n- y: 1\n  z: 2\n- - no\n", {"a": ["x", {"y": "1", "z": "2"}, "- no"]}),
        ("a: [x, 'y, z', \"w\"] # why\n", {"a": ["x", "y, z", "w"]}),
        ("a: [\n  x,\n  y\n]\nb: {c: {d: e}, f: [g]}\n", {"a": ["x", "y"], "b": {"c": {"d": "e"}, "f": ["g"]}}),
        ("a: >\n  x\n  y\nb: |\n  x\n  y\nc: x\n  y\n", {"a": "x y", "b": "x\ny", "c": "x y"}),
        ("a: 'it''s'\nb: \"x\n  y\"\n'c d': http://x:1/\n", {"a": "it's", "b": "x y", "c d": "http://x:1/"}),
        ("a: &x\n  b: 1\n  c: 2\nd:\n  <<: *x\n  c: 3\n", {"a": {"b": "1", "c": "2"}, "d": {"b": "1", "c": "3"}}),
        ("a:\n  &x # why\n  b: 1\nc: *x\n", {"a": {"b": "1"}, "c": {"b": "1"}}),
        ("{{- if .Values.x }}\na: {{ .Values.a }}\n{{- end }}\nb: 2\n", {"a": "{{ .Values.a }}", "b": "2"}),
        ("a: [x\n", {"a": "[x"}),
        ("a: *nowhere\n", {"a": "*nowhere"}),
        ("- x\n- {y: z}\n", ["x", {"y": "z"}]),
    ],
)
def test_yaml(text: str, value: object) -> None:
    assert [plain(document) for document in read_yaml(text.splitlines())] == [value]


def test_yaml_documents_and_lines() -> None:
    first, second = read_yaml("a: 1\n---\nb:\n  c: 2\n".splitlines())
    assert (plain(first), plain(second), second.get("b", "c").line) == ({"a": "1"}, {"b": {"c": "2"}}, 4)


@pytest.mark.parametrize(
    "text", ["a: " + "[" * 5000, "- " * 5000, "{" * 200, "a:\n" * 50, "*", "&", "- &", "a: |", "<<: x"]
)
def test_odd_yaml_is_borne(text: str) -> None:
    read_yaml(text.splitlines())


def found(text: str, shell: str = "script") -> list[tuple[str, bool]]:
    return [(" ".join([*c.options, c.name, *c.rest]), c.direct) for c in commands_in(words_of(text), 1, shell)]


@pytest.mark.parametrize(
    ("text", "shell", "expected"),
    [
        ("celery -A shop worker -l INFO", "", [("-A shop worker -l INFO", True)]),
        ("sh -c 'migrate && celery -A shop beat'", "", [("-A shop beat", False)]),
        ("sh -c 'migrate && exec celery -A shop beat'", "", [("-A shop beat", True)]),
        ("bash -c 'migrate && celery -A shop beat'", "", [("-A shop beat", True)]),
        ("bash -c 'celery -A shop beat || true'", "", [("-A shop beat", False)]),
        ("bash -c 'celery -A shop beat > log'", "", [("-A shop beat", False)]),
        ("/bin/bash -lc 'exec celery beat' > log", "", [("beat", True)]),
        ("celery -A shop worker & exec sleep 9", "sh", [("-A shop worker", False)]),
        ("exec gosu shop celery -A shop worker", "script", [("-A shop worker", True)]),
        ("REMAP_SIGTERM=SIGQUIT python -m celery worker", "script", [("worker", False)]),
        ("/start-celery.sh celery worker", "script", [("worker", False)]),
        ("celery -A ${APP:?no app given} worker -n ${N:-x y}", "script", [("-A ${APP} worker -n ${N}", False)]),
        ("celery -A $(cat app name) status", "script", [("-A ${_} status", False)]),
        ("echo Starting celery worker now", "script", []),
        ("service celery restart", "script", []),
        ("pip install celery beat", "script", []),
        ("celery-worker : Start the celery worker queue", "script", []),
        ("celery --help", "script", []),
        ("celery it's worker", "script", []),
    ],
)
def test_commands(text: str, shell: str, expected: list[tuple[str, bool]]) -> None:
    assert found(text, shell) == expected


def test_manage_py() -> None:
    (command,) = commands_in(words_of("python manage.py celery worker -l INFO"), 1)
    assert (command.program, command.name) == ("manage.py", "worker")


@pytest.mark.parametrize("options", ["-d x", "-dx", "--destination=x", "--destination x"])
def test_option(options: str) -> None:
    (command,) = commands_in(f"celery inspect ping {options}".split(), 1)
    assert (command.option("-d", "--destination"), command.option("-t", "--timeout")) == ("x", None)


def test_scripts_join_lines_and_skip_here_documents() -> None:
    lines = "cat <<EOF\ncelery beat\nEOF\n# celery beat\nexec celery -A shop \\\n  worker # why\n".splitlines()
    (command,) = script_commands(TextFile("start.sh", lines))
    assert (command.line, command.name, command.rest, command.direct) == (5, "worker", [], True)


def started(folder: Path, tree: str) -> list[tuple[Process, str]]:
    write(folder, tree)
    project = audit(str(folder), chosen(("DCE101",))).project
    return [(p, c.name) for text in project.text for p in processes(text, project) for c in p.commands]


POD = """\
=== k8s/w.yaml
kind: Deployment
spec:
  template:
    spec:
      containers:
        - name: w
          command: [celery, -A, shop]
          args: [worker]
"""
SCRIPT = """\
=== compose.yml
services:
  celery:
    command: /app/bin/start-worker
=== bin/start-worker
#!/bin/sh
exec celery worker
"""
TREES = [
    ("=== compose.yml\nservices:\n  w:\n    command: celery worker\n", "compose", "w", 3),
    ("=== compose.yml\nservices:\n  w:\n    entrypoint: [celery]\n    command: [worker]\n", "compose", "w", 4),
    (POD, "kubernetes", "w", 7),
    ("=== w.service\n[Service]\nExecStart=-/bin/celery -A shop \\\n  worker\n", "systemd", "w.service", 2),
    ("=== supervisord.conf.j2\n[program:w]\ncommand=celery -A shop\n  worker\n", "supervisor", "w", 2),
    ("=== Procfile\nweb: gunicorn\nw: celery worker\n", "procfile", "w", 2),
    ('=== Dockerfile\nFROM celery\nENTRYPOINT ["celery"]\nCMD ["worker"]\n', "dockerfile", "CMD", 3),
    ("=== Dockerfile\nFROM x\nCMD celery worker\n", "dockerfile", "CMD", 2),
    (SCRIPT, "compose", "celery", 3),
]


@pytest.mark.parametrize(("tree", "kind", "name", "line"), TREES)
def test_processes(tmp_path: Path, tree: str, kind: str, name: str, line: int) -> None:
    ((process, command),) = started(tmp_path, tree)
    assert (process.kind, process.name, process.line, command) == (kind, name, line, "worker")
