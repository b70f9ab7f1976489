"""Write every client's manifest, and the plugin's copy of the skill, from the two places that people edit.

`pyproject.toml` says what the plugin is called, which version it is and who wrote it; `skills/NAME/` is the
skill. Each assistant wants the same facts in a file of its own, and a wrong file fails silently: the install
succeeds and nothing is listed. So a program makes these files, and `--check` fails when one is out of step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

# What manifests say about the plugin: FORM's keys, keywords, author, and repository where there is one.
Facts = dict[str, Any]

# The texts that [project] must hold: form and example. Some client refuses any other name or version.
FORM = {
    "name": (r"[a-z0-9]+(-[a-z0-9]+)*", "my-plugin"),
    "version": (r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", "0.1.0"),
    "description": (r".+", "One line on what it does."),
    "license": (r".+", "MIT"),
}
# Left behind by tools in a working copy, ignored by git, and no part of the skill.
CACHES = {"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".DS_Store"}


class SyncError(Exception):
    """The work cannot be done; the message is one line that says what, where and how to mend it."""


def read_facts(root: Path) -> Facts:
    path = root / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project")
    except FileNotFoundError:
        raise SyncError(f"{path}: not found; run from the repository or pass --root DIR") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SyncError(f"{path}: not valid TOML: {error}") from None
    match project:
        case {"keywords": [str(), *_], "authors": [{"name": str(name), **rest}, *_]} if name:
            author = {"name": name} | {key: rest[key] for key in rest if key == "email"}
        case _:
            raise SyncError(f'{path}: [project] needs keywords = ["…"] and authors = [{{ name = "…" }}]')
    for key, (form, example) in FORM.items():
        if not isinstance(project.get(key), str) or not re.fullmatch(form, project[key]):
            raise SyncError(f'{path}: [project] {key} is missing or unfit; write it like {key} = "{example}"')
    facts = {key: project[key] for key in (*FORM, "keywords")} | {"author": author}
    urls = project.get("urls")
    public = isinstance(urls, dict) and "Repository" in urls
    return facts | ({"repository": urls["Repository"]} if public else {})


# One function per manifest. Their keys and values are the clients' words, not ours.


def claude_marketplace(facts: Facts) -> Facts:
    entry = facts | {"source": f"./plugins/{facts['name']}", "category": "development"}
    about = {"description": facts["description"], "version": facts["version"]}
    return {"name": facts["name"], "owner": facts["author"], "metadata": about, "plugins": [entry]}


def codex_marketplace(facts: Facts) -> Facts:
    entry = {
        "name": facts["name"],
        "source": {"source": "local", "path": f"./plugins/{facts['name']}"},
        "policy": {"installation": "AVAILABLE", "authentication": "ON_USE"},
        "category": "Coding",
    }
    return {"name": facts["name"], "interface": {"displayName": title(facts)}, "plugins": [entry]}


def codex_plugin(facts: Facts) -> Facts:
    interface = {
        "displayName": title(facts),
        "shortDescription": facts["description"],
        "developerName": facts["author"]["name"],
        "category": "Coding",
    }
    return facts | {"skills": "./skills/", "interface": interface}


def agent_plugin(facts: Facts) -> Facts:
    # The vendor-neutral manifest that Cursor, and by their documentation others, read. It takes no other keys.
    return {"$schema": "https://agent-plugins.org/schemas/1.0.0/plugin.schema.json"} | facts


def gemini_extension(facts: Facts) -> Facts:
    return {key: facts[key] for key in ("name", "version", "description")}


def npm_package(facts: Facts) -> Facts:
    main = f".opencode/plugins/{facts['name']}.js"
    return facts | {"private": True, "type": "module", "main": main, "files": [".opencode/plugins", "skills"]}


def opencode_plugin(facts: Facts) -> str:
    return f"""\
// OpenCode loads this file as the entry of the package, and finds the skill in the package's own skills/.
// Generated: to change it, change the template in scripts/sync.py and run `make sync`.
import {{ fileURLToPath }} from "node:url"

const skills = fileURLToPath(new URL("../../skills", import.meta.url))

export const {title(facts).replace(" ", "")} = async () => ({{
  config: async (config) => {{
    config.skills ??= {{}}
    config.skills.paths = [...new Set([...(config.skills.paths ?? []), skills])]
  }},
}})
"""


def title(facts: Facts) -> str:
    return facts["name"].replace("-", " ").title()


MANIFESTS: dict[str, Callable[[Facts], Facts | str]] = {
    ".claude-plugin/marketplace.json": claude_marketplace,
    ".agents/plugins/marketplace.json": codex_marketplace,
    "gemini-extension.json": gemini_extension,
    "package.json": npm_package,
    ".opencode/plugins/{name}.js": opencode_plugin,
    "plugins/{name}/plugin.json": agent_plugin,
    "plugins/{name}/.claude-plugin/plugin.json": dict,  # the facts as they are
    "plugins/{name}/.codex-plugin/plugin.json": codex_plugin,
}


class File(NamedTuple):
    """A file as it is or should be. Of the mode only the executable bit counts: git records no other."""

    content: bytes
    executable: bool = False


def read(path: Path) -> File:
    return File(path.read_bytes(), bool(path.stat().st_mode & 0o100))


def write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(file.content)
    path.chmod(path.stat().st_mode | (0o111 if file.executable else 0))


def wanted_files(facts: Facts, root: Path) -> dict[Path, File]:
    """Everything that is generated, by its path in the repository."""
    files = {}
    for path, render in MANIFESTS.items():
        made = render(facts)
        text = made if isinstance(made, str) else json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        files[Path(path.format(**facts))] = File(text.encode())
    skill = Path("skills", facts["name"])
    files[skill / "SKILL.md"] = with_version(root / skill / "SKILL.md", facts["version"])
    for path in sorted((root / skill).rglob("*")):
        relative = path.relative_to(root)
        if path.is_symlink():
            raise SyncError(f"{path}: is a link, and some clients drop links; put the real file there")
        if path.is_file() and not CACHES.intersection(relative.parts):
            files[Path("plugins", facts["name"], relative)] = files.get(relative) or read(path)
    return files


def with_version(path: Path, version: str) -> File:
    """SKILL.md with the version under `metadata:` of its frontmatter rewritten, and no other byte."""
    if not path.is_file():
        raise SyncError(f"{path}: not found; the skill is written there, and only there")
    old = read(path)
    frontmatter, fence, text = old.content.partition(b"\n---")
    line = rb"(\A---\r?\n(?:.*\n)*?metadata:[ \t]*\r?\n(?:[ \t].*\n)*?[ \t]+version:[ \t]*)[^\r\n]*"
    new, count = re.subn(line, rb'\g<1>"%s"' % version.encode(), frontmatter, count=1)
    if not (count and fence):
        raise SyncError(f'{path}: no version in the frontmatter; add `metadata:` and `  version: "0.1.0"`')
    return File(new + fence + text, old.executable)


def difference(path: Path, want: File) -> str | None:
    if path.is_symlink() or not path.exists():
        return "is a link" if path.is_symlink() else "is missing"
    have = read(path)
    if have.content != want.content:
        pairs = zip(have.content.split(b"\n"), want.content.split(b"\n"), strict=False)
        same = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        return f"differs from line {same + 1} on"
    if have.executable != want.executable:
        return f"should {'' if want.executable else 'not '}be executable"
    return None


def find_drift(facts: Facts, root: Path) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """What is out of step: the path, in what way, and a call that mends it."""
    wanted = wanted_files(facts, root)
    for path, file in wanted.items():
        if what := difference(root / path, file):
            yield path.as_posix(), what, partial(write, root / path, file)
    copy = root / "plugins" / facts["name"] / "skills"
    if copy.is_symlink() or (copy / facts["name"]).is_symlink():
        raise SyncError(f"{copy}: is or holds a link, and Codex drops links; remove it and run `make sync`")
    for path in sorted(copy.rglob("*")):
        relative = path.relative_to(root)
        known = relative in wanted or CACHES.intersection(relative.parts)
        if not known and (path.is_symlink() or not path.is_dir()):
            yield relative.as_posix(), "is not part of the skill", partial(remove, path, copy)
    link, target = root / "references", Path("skills", facts["name"], "references")
    if not link.is_symlink() or link.readlink() != target:
        yield link.name, f"is not a link to {target.as_posix()}", partial(relink, link, target)


def remove(path: Path, top: Path) -> None:
    """Remove a file and the folders below `top` that hold nothing else but caches."""
    path.unlink()
    for folder in path.parents:
        if folder == top or any(left.name not in CACHES for left in folder.iterdir()):
            return
        shutil.rmtree(folder)


def relink(link: Path, target: Path) -> None:
    """Lay the link for people; a real folder of that name may be someone's work, so it is left alone."""
    if link.is_dir() and not link.is_symlink():
        raise SyncError(f"{link}: is a real folder; move it away and run `make sync` again")
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when out of step")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="DIR", help="the repository")
    options = parser.parse_args(arguments)
    try:
        drifts = list(find_drift(read_facts(options.root), options.root))
        for path, what, mend in drifts:
            if not options.check:
                mend()
            print(f"{path}: {what}; {'run `make sync`' if options.check else 'mended'}")
    except (SyncError, OSError) as error:
        print(f"sync: {error}", file=sys.stderr)
        return 2
    return 1 if drifts and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
