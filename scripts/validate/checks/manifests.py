"""Manifests say what is true: they parse, fit their client's rules, and name what is on disk."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator

from ..discover import Manifest, Plugin, Tree
from ..findings import Problem
from ..registry import check
from .frontmatter import explain, schema

# Keys of plugin.json whose values are paths inside the plugin (a text, or a list of texts).
PATH_KEYS = ("commands", "agents", "skills", "hooks", "mcpServers", "lspServers", "outputStyles")


def _object(manifest: Manifest) -> dict[str, object]:
    return manifest.data if isinstance(manifest.data, dict) else {}


def _entries(manifest: Manifest) -> list[dict[str, object]]:
    """The plugins that a marketplace lists."""
    listed = _object(manifest).get("plugins")
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _source(manifest: Manifest, entry: dict[str, object]) -> str | None:
    """The folder, relative to the validated one, of an entry whose source is a local path; ``None`` for any other."""
    source = entry.get("source")
    if isinstance(source, dict) and source.get("source") in ("local", "directory"):
        source = source.get("path")
    if not isinstance(source, str) or "://" in source or source.startswith(("git@", "github:")):
        return None
    metadata = _object(manifest).get("metadata")
    base = metadata.get("pluginRoot", "") if isinstance(metadata, dict) and not source.startswith("./") else ""
    return posixpath.normpath(posixpath.join(manifest.home, str(base), source))


def _plugin_manifests(tree: Tree, folder: str) -> list[Manifest]:
    plugin = tree.plugins.get(folder)
    return plugin.manifests if plugin else []


@check("manifests/json")
def readable(manifest: Manifest) -> Iterator[Problem]:
    """A manifest is not JSON.

    Why: the client says so at best and lists nothing at worst.
    Mend: Correct the JSON: no comments, no trailing commas, each key once, UTF-8.

    Bad:
        === .claude-plugin/plugin.json
        {"name": "demo",}
    Bad:
        === .claude-plugin/plugin.json
        {"name": "demo", "name": "demo"}
    Bad:
        === gemini-extension.json
        {"name": "demo", "version": NaN}
    Good:
        === .claude-plugin/plugin.json
        {"name": "demo"}
    """
    if manifest.error:
        message, line, column = manifest.error
        yield Problem(message, line, column)


@check("manifests/schema")
def manifest_schema(manifest: Manifest) -> Iterator[Problem]:
    """A manifest breaks a rule of the client that reads it.

    Why: clients refuse the whole marketplace or plugin, or drop the part in question silently.
    Mend: Follow the rule in brackets.

    Bad:
        === .claude-plugin/plugin.json
        {"description": "has no name"}
    Bad:
        === .claude-plugin/marketplace.json
        {"name": "demo", "owner": {"name": "Ann"}, "plugins": [{"name": "box"}]}
    Bad:
        === gemini-extension.json
        {"name": "demo"}
    Bad:
        === .agents/plugins/marketplace.json
        []
    Good:
        === .claude-plugin/marketplace.json
        {"name": "demo", "owner": {"name": "Ann"}, "plugins": []}
    """
    if manifest.error:
        return
    for error in sorted(schema(manifest.kind).iter_errors(manifest.data), key=lambda error: str(error.path)):
        last = next((str(step) for step in reversed(error.absolute_path) if isinstance(step, str)), "")
        yield Problem(explain(error), manifest.line_of(last))


@check("manifests/missing-source")
def missing_source(manifest: Manifest, tree: Tree) -> Iterator[Problem]:
    """A marketplace lists a plugin whose folder does not exist or leaves the repository.

    Why: the marketplace is added without complaint; the install fails for every user.
    Mend: Correct `source`: a path from the root of the repository, beginning with `./`.

    Bad:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "box", "source": "./plugins/box"}]}
    Bad:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "box", "source": "./../box"}]}
    Good:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "box", "source": "./plugins/box"},
        {"name": "far", "source": {"source": "github", "repo": "owner/far"}}]}
        === plugins/box/.claude-plugin/plugin.json
        {"name": "box"}
    """
    if not manifest.kind.endswith("marketplace"):
        return
    for entry in _entries(manifest):
        source = _source(manifest, entry)
        if source is None:
            continue
        line = manifest.line_of(str(entry.get("name")))
        if source.startswith(".."):
            yield Problem(f"source of {entry.get('name')!r} leaves the repository", line)
        elif source not in tree.folders:
            yield Problem(f"source of {entry.get('name')!r}: there is no folder {source!r}", line)


@check("manifests/name-mismatch")
def name_mismatch(manifest: Manifest, tree: Tree) -> Iterator[Problem]:
    """A marketplace and the plugin's own manifest disagree on its name.

    Why: Codex refuses such a plugin; Claude Code lists it under one name and installs it under the other.
    Mend: Use one name in both.

    Bad:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "box", "source": "./plugins/box"}]}
        === plugins/box/.claude-plugin/plugin.json
        {"name": "crate"}
    Good:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "box", "source": "./plugins/box"}]}
        === plugins/box/.claude-plugin/plugin.json
        {"name": "box"}
    """
    yield from _disagreements(manifest, tree, "name")


@check("manifests/version-mismatch")
def version_mismatch(manifest: Manifest, tree: Tree) -> Iterator[Problem]:
    """A marketplace and the plugin's own manifest disagree on its version.

    Why: a client that goes by the lower one never updates.
    Mend: Write the version in one place and generate the others.

    Bad:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "b", "source": "./b", "version": "1.0.0"}]}
        === b/.claude-plugin/plugin.json
        {"name": "b", "version": "1.1.0"}
    Good:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "b", "source": "./b", "version": "1.1.0"}]}
        === b/.claude-plugin/plugin.json
        {"name": "b", "version": "1.1.0"}
    """
    yield from _disagreements(manifest, tree, "version")


def _disagreements(manifest: Manifest, tree: Tree, key: str) -> Iterator[Problem]:
    if not manifest.kind.endswith("marketplace"):
        return
    for entry in _entries(manifest):
        for own in _plugin_manifests(tree, _source(manifest, entry) or ""):
            theirs = _object(own).get(key)
            if isinstance(theirs, str) and isinstance(entry.get(key), str) and theirs != entry[key]:
                line = manifest.line_of(str(entry.get("name")))
                yield Problem(f"{key} {entry[key]!r} of {entry.get('name')!r} is {theirs!r} in {own.path}", line)


@check("manifests/plugin-disagreement")
def plugin_disagreement(plugin: Plugin) -> Iterator[Problem]:
    """The manifests of one plugin for several clients disagree on its name or version.

    Why: the same folder is then two plugins, or two versions, depending on the client.
    Mend: Generate them from one source.

    Bad:
        === .claude-plugin/plugin.json
        {"name": "box", "version": "1.0.0"}
        === .codex-plugin/plugin.json
        {"name": "box", "version": "1.1.0"}
    Good:
        === .claude-plugin/plugin.json
        {"name": "box", "version": "1.1.0"}
        === .codex-plugin/plugin.json
        {"name": "box", "version": "1.1.0"}
    """
    first, *others = plugin.manifests
    for other in others:
        for key in ("name", "version"):
            mine, theirs = _object(first).get(key), _object(other).get(key)
            if mine is not None and theirs is not None and mine != theirs:
                yield Problem(f"{key} {theirs!r} is {mine!r} in {first.path}", other.line_of(key), path=other.path)


@check("manifests/duplicate-plugin")
def duplicate_plugin(manifest: Manifest) -> Iterator[Problem]:
    """A marketplace lists two plugins under one name.

    Why: a client installs one of them; which one is not defined.
    Mend: Remove or rename one.

    Bad:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "b", "source": "./b"},
        {"name": "b", "source": "./c"}]}
        === b/.claude-plugin/plugin.json
        {"name": "b"}
        === c/.claude-plugin/plugin.json
        {"name": "b"}
    Good:
        === .claude-plugin/marketplace.json
        {"name": "m", "owner": {"name": "Ann"}, "plugins": [{"name": "b", "source": "./b"}]}
        === b/.claude-plugin/plugin.json
        {"name": "b"}
    """
    if not manifest.kind.endswith("marketplace"):
        return
    seen: set[object] = set()
    for name in (entry.get("name") for entry in _entries(manifest)):
        if isinstance(name, str) and name in seen:
            yield Problem(f"lists {name!r} twice", manifest.line_of(name))
        seen.add(str(name))


@check("manifests/missing-path")
def missing_path(manifest: Manifest, tree: Tree) -> Iterator[Problem]:
    """A manifest names a file or folder that is not in the plugin.

    Why: the client loads the plugin without that part and says nothing.
    Mend: Correct the path: it counts from the plugin's folder and begins with `./`.

    Bad:
        === .claude-plugin/plugin.json
        {"name": "demo", "skills": ["./skill-folder"]}
    Bad:
        === .codex-plugin/plugin.json
        {"name": "demo", "version": "1.0.0", "description": "Packs boxes.", "skills": "./../outside/"}
    Bad:
        === gemini-extension.json
        {"name": "demo", "version": "1.0.0", "contextFileName": "GONE.md"}
    Good:
        === .claude-plugin/plugin.json
        {"name": "demo", "commands": "./commands", "hooks": {}}
        === commands/pack.md
        Pack a box.
    """
    data = _object(manifest)
    named: list[object] = []
    if manifest.kind.endswith("-plugin"):
        for key in PATH_KEYS:
            value = data.get(key)
            named += value if isinstance(value, list) else [value]
    elif manifest.kind == "gemini-extension":
        value = data.get("contextFileName")
        named += value if isinstance(value, list) else [value]
    for path in named:
        if not isinstance(path, str) or "${" in path:
            continue
        resolved = posixpath.normpath(posixpath.join(manifest.home, path))
        if resolved.startswith("..") or (manifest.home != "." and not f"{resolved}/".startswith(f"{manifest.home}/")):
            yield Problem(f"{path!r} leaves the plugin", manifest.line_of(path))
        elif not tree.exists(resolved):
            yield Problem(f"{path!r} does not exist", manifest.line_of(path))


@check("manifests/package-main")
def package_main(tree: Tree) -> Iterator[Problem]:
    """package.json names an entry file that does not exist, or leaves what it needs out of `files`.

    Why: OpenCode installs the package and loads `main`; without it the plugin does nothing, silently.
    Mend: Correct `main`, and list its folder and `skills` under `files`.

    Bad:
        === package.json
        {"name": "demo", "main": ".opencode/plugins/gone.js"}
        === .opencode/plugins/demo.js
        export {}
    Bad:
        === package.json
        {"name": "demo", "main": ".opencode/plugins/demo.js", "files": ["skills"]}
        === .opencode/plugins/demo.js
        export {}
    Good:
        === package.json
        {"name": "demo", "main": ".opencode/plugins/demo.js", "files": [".opencode/plugins", "skills"]}
        === .opencode/plugins/demo.js
        export {}
        === skills/in/SKILL.md
        ---
        name: in
        description: Packs boxes.
        ---
    """
    if "package.json" not in tree.files or not any(path.startswith(".opencode/plugins/") for path in tree.files):
        return
    try:
        package = json.loads(tree.read("package.json"))
    except (OSError, ValueError, RecursionError) as error:
        yield Problem(f"is not JSON: {error}", path="package.json")
        return
    package = package if isinstance(package, dict) else {}
    main = package.get("main")
    if not isinstance(main, str) or not tree.exists(posixpath.normpath(main)):
        yield Problem(f"main {main!r} does not exist", path="package.json")
    elif isinstance(files := package.get("files"), list):
        kept = [posixpath.normpath(str(entry)) for entry in files]
        if not any(f"{posixpath.normpath(main)}/".startswith(f"{entry}/") for entry in kept):
            yield Problem(f"`files` leaves {main!r} out", path="package.json")
