"""A catalogue that takes single files from the repository, as SkillHub is documented to, finds what the skill needs."""

from __future__ import annotations

import posixpath
from urllib.parse import quote
from urllib.request import urlopen

from installed import LINK
from sources import SKILL, Source

# What a catalogue publishes: text in these files, none over 100 KB.
SUFFIXES = {".md", ".py", ".sh", ".js", ".ts", ".json", ".yaml", ".yml", ".toml", ".txt"}
LARGEST = 100_000


def fetched(address: str) -> dict[str, bytes]:
    """SKILL.md, the files it links to, and the files those link to, by their path in the skill."""
    files: dict[str, bytes] = {}
    waiting = ["SKILL.md"]
    while waiting:
        name = waiting.pop()
        with urlopen(f"{address}/{quote(name)}", timeout=30) as answer:
            files[name] = answer.read()
        if name.endswith(".md"):
            targets = LINK.findall(files[name].decode())
            paths = {posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) for target in targets}
            waiting += sorted(paths - files.keys() - set(waiting))
    return files


def test_following_the_links_fetches_every_page(source: Source, file_server: str) -> None:
    have = fetched(f"{file_server}/{quote(SKILL.as_posix())}")
    want = source.files()
    assert {name for name in want if name.endswith(".md")} <= have.keys()
    assert all(want[name] == content for name, content in have.items())


def test_every_file_may_be_published(source: Source) -> None:
    files = source.files()
    assert {name for name in files if not name.endswith(tuple(SUFFIXES))} == set()
    assert {name for name, content in files.items() if len(content) > LARGEST} == set()
