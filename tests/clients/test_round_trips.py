"""One story for every client, from a folder and from a URL: install, list, use, update, repair, uninstall."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import yaml
from clients import Client, install_again
from installed import audit, broken_links, damage, files_of, left_behind

NEXT = "999.0.0"


def frontmatter(skill: Path) -> dict:
    return yaml.safe_load((skill / "SKILL.md").read_text().split("---\n")[1])


def assert_offered(client: Client) -> None:
    """The client names the skill with the whole description, and the version and body where it tells them."""
    want = frontmatter(client.source.skill)
    listing = client.listed()
    assert listing
    assert listing.description == want["description"]
    assert listing.version in (None, want["metadata"]["version"])
    body = (client.source.skill / "SKILL.md").read_text().split("---\n", 2)[2]
    assert listing.body is None or listing.body.strip() == body.strip()


def assert_arrived(client: Client) -> None:
    """Every file is there, byte by byte, and no other."""
    have, want = files_of(client.landed()), client.source.files()
    assert have.keys() == want.keys()
    assert [name for name in want if have[name] != want[name]] == []


def test_install_and_list(client: Client) -> None:
    client.install()
    assert_offered(client)


def test_files_arrive_and_the_audit_runs(client: Client, tmp_path: Path) -> None:
    client.install()
    assert_arrived(client)
    assert broken_links(client.landed()) == []
    assert audit(client.landed(), tmp_path) == audit(client.source.skill, tmp_path)


def test_update(client: Client) -> None:
    client.install()
    client.source.release(NEXT)
    client.update()
    assert_offered(client)
    assert frontmatter(client.landed())["metadata"]["version"] == NEXT
    assert_arrived(client)


def test_second_install(client: Client) -> None:
    client.install()
    install_again(client)
    assert_offered(client)
    assert_arrived(client)


def test_repair(client: Client) -> None:
    client.install()
    damage(client.landed())
    client.repair()
    assert_offered(client)
    assert_arrived(client)


def test_uninstall(client: Client) -> None:
    client.install()
    client.uninstall()
    assert client.listed() is None
    left = left_behind(client.home, client.source)
    assert [name for name in left if not any(fnmatch(name, pattern) for pattern in client.keeps)] == []
