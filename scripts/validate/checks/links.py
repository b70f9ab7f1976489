"""Links lead somewhere: the file exists, the anchor exists, and both are still there after an install."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from ..discover import Skill, Tree
from ..document import Document, Link
from ..findings import Problem
from ..registry import check

EXTERNAL = re.compile(r"^(?:[a-zA-Z][a-zA-Z0-9+.-]+:|//)")
MACHINE = re.compile(r"^(?:file:|[a-zA-Z]:(?:[\\/]|%5C)|/(?:home|Users)/)")
PLACEHOLDER = re.compile(r"[<>{}$*]|%7B|%3C|%5B|^\.\.\.$|…", re.IGNORECASE)
SKILL_PATH = re.compile(r"^(?:\./)?((?:references|scripts|assets)/[\w./-]+\.[A-Za-z]{1,5})(?:#[\w-]+)?$")
COPIED = re.compile(r"(?:^|/)(?:assets|templates?)/")  # material to be copied: its links count from where it will lie
LINES = re.compile(r"L\d+(?:C\d+)?(?:-L?\d+(?:C\d+)?)?$")  # of a file, as GitHub marks them
MARKDOWN = (".md", ".mdx", ".markdown")


class Target(NamedTuple):
    """A link's address taken apart. ``path`` is relative to the validated folder, ``None`` where it leaves it."""

    path: str | None
    fragment: str


@lru_cache(maxsize=65_536)  # every check of links asks for all of them
def resolve(page: str, link: str) -> Target | None:
    """Where a page's link leads inside the tree; ``None`` for one to the network or a placeholder."""
    if EXTERNAL.match(link) or MACHINE.match(link) or PLACEHOLDER.search(link):
        return None
    address, _, fragment = link.partition("#")
    address = unquote(address.partition("?")[0])
    if not address:
        return Target(page, unquote(fragment))
    base = "" if address.startswith("/") else posixpath.dirname(page)
    path = posixpath.normpath(posixpath.join(base, address.lstrip("/")))
    return Target(None if path.startswith("..") else path, unquote(fragment))


def followed(document: Document) -> Iterator[tuple[Link, Target]]:
    """The document's links that should lead to something in the tree."""
    if COPIED.search(document.path):
        return
    for link in document.links:
        if target := resolve(document.path, link.target):
            yield link, target


def leaves(document: Document, target: Target, tree: Tree) -> bool:
    """True for a link out of the skill that holds the document: an install does not bring what it leads to."""
    skill = tree.skill_of(document.path)
    if skill is None or skill.folder == ".":
        return False
    return target.path is None or not f"{target.path}/".startswith(f"{skill.folder}/")


@check("links/missing-file")
def missing_file(document: Document, tree: Tree) -> Iterator[Problem]:
    """A link or image leads to a file that is not there.

    Why: an assistant that follows it gets nothing and goes on from memory.
    Mend: Correct the path (it counts from the file that holds the link), or remove the link.

    Bad:
        === SKILL.md +
        See [the page](references/gone.md).
    Bad:
        === SKILL.md +
        ![picture](picture.png)
    Bad:
        === SKILL.md +
        See [the page][p].

        [p]: references/gone.md
    Bad:
        === SKILL.md +
        1. > See <a href="gone.md">the page</a>.
    Good:
        === SKILL.md +
        See [the page](references/a%20b.md?x=1#a), `[code](gone.md)` and <https://example.org/gone.md>.
        Copy [the form](templates/form.md).

        ```markdown
        [an example](gone.md)
        ```
        === references/a b.md
        # A
        === templates/form.md
        See [the record](../records/1.md).
    """
    for link, target in followed(document):
        if target.path is None:
            yield Problem(f"{link.target!r} leads out of the validated folder", link.line, link.column)
        elif not tree.exists(target.path) and not tree.spelling(target.path):
            yield Problem(f"{link.target!r} leads to nothing", link.line, link.column)


@check("links/letter-case")
def letter_case(document: Document, tree: Tree) -> Iterator[Problem]:
    """A link spells its file with other capitals than the disk.

    Why: it works on macOS and Windows and fails on Linux and on GitHub.
    Mend: Spell the path as it is on disk.

    Bad:
        === SKILL.md +
        See [the page](references/Page.md).
        === references/page.md
        text
    Good:
        === SKILL.md +
        See [the page](references/page.md).
        === references/page.md
        text
    """
    for link, target in followed(document):
        spelt = tree.spelling(target.path) if target.path else None
        if spelt and spelt != target.path and target.path not in tree.folders:
            yield Problem(f"{link.target!r} is spelt {spelt!r} on disk", link.line, link.column)


def anchors(document: Document, tree: Tree, rule: str) -> Iterator[tuple[Link, Target]]:
    """The links whose anchor is not in its document under a slug rule."""
    for link, (path, fragment) in followed(document):
        if not fragment or not path or path not in tree.documents or not path.lower().endswith(MARKDOWN):
            continue
        slugs = tree.slugs(path, rule)
        if fragment not in slugs and fragment != "top" and not fragment.startswith(":~:") and not LINES.match(fragment):
            yield link, Target(path, fragment)


@check("links/missing-anchor")
def missing_anchor(document: Document, tree: Tree) -> Iterator[Problem]:
    """A link's anchor is no heading of its document (by GitHub's rule for anchors).

    Why: an assistant told to read one section has to read, and pay for, the whole file.
    Mend: Use the heading in lower case, punctuation dropped, each space a hyphen.

    Bad:
        === SKILL.md +
        See [the part](#no-such-part).
    Bad:
        === SKILL.md +
        See [the part](references/page.md#part-2).
        === references/page.md
        # Page
        ## Part 1
    Good:
        === SKILL.md +
        See [one](references/page.md#part-1), [again](references/page.md#part-1-1),
        [two](references/page.md#djangos-_x_-y), [mark](references/page.md#mark) and [here](#demo).
        # Demo
        === references/page.md
        ## Part 1
        ## Part 1
        ## Django's `_x_` *Y*
        <a id="mark"></a>
    """
    for link, target in anchors(document, tree, "github"):
        yield Problem(f"{link.target!r}: no heading makes the anchor #{target.fragment}", link.line, link.column)


@check("links/missing-site-anchor")
def missing_site_anchor(document: Document, tree: Tree) -> Iterator[Problem]:
    """A link's anchor works on GitHub and not on the MkDocs site, whose rule for anchors differs.

    Why: the site joins runs of hyphens, drops what is not ASCII, and numbers repeats with `_1`.
    Mend: Reword the heading so that both rules make the same anchor, or give it an id: `## Title {#id}`.

    Bad:
        === mkdocs.yml
        site_name: Demo
        === SKILL.md +
        See [both](references/page.md#a---b).
        === references/page.md
        ## A - B
    Good:
        === mkdocs.yml
        site_name: Demo
        === SKILL.md +
        See [both](references/page.md#a-and-b).
        === references/page.md
        ## A and B
    """
    if "mkdocs.yml" not in tree.files:
        return
    on_github = set(anchors(document, tree, "github"))
    for link, target in anchors(document, tree, "site"):
        if (link, target) not in on_github:
            yield Problem(f"{link.target!r}: the site has no anchor #{target.fragment}", link.line, link.column)


@check("links/leaves-skill", "warning")
def leaves_skill(document: Document, tree: Tree) -> Iterator[Problem]:
    """A link in a skill leads out of the skill's folder.

    Why: most ways to install bring the folder and nothing else, so the link dangles.
    Mend: Move the file into the skill, or link to its public address.

    Bad:
        === skills/inner/SKILL.md
        ---
        name: inner
        description: Packs boxes.
        ---
        See [the guide](../../guide.md).
        === guide.md
        text
    Bad:
        === skills/inner/SKILL.md
        ---
        name: inner
        description: Packs boxes.
        ---
        See [the guide](/guide.md).
        === guide.md
        text
    Good:
        === skills/inner/SKILL.md
        ---
        name: inner
        description: Packs boxes.
        ---
        See [the guide](guide.md).
        === skills/inner/guide.md
        text
    """
    for link, target in followed(document):
        if target.path and tree.exists(target.path) and leaves(document, target, tree):
            yield Problem(f"{link.target!r} leads out of the skill", link.line, link.column)


@check("links/leaves-plugin", "warning")
def leaves_plugin(document: Document, tree: Tree) -> Iterator[Problem]:
    """A link in a plugin's command or agent leads out of the plugin's folder.

    Why: clients copy the plugin's folder alone; the link works only in the repository. (A README is read there.)
    Mend: Move the file into the plugin, or link to its public address.

    Bad:
        === SKILL.md -
        === plugins/box/.claude-plugin/plugin.json
        {"name": "box"}
        === plugins/box/commands/pack.md
        See [the guide](../../../guide.md).
        === guide.md
        text
    Good:
        === SKILL.md -
        === plugins/box/.claude-plugin/plugin.json
        {"name": "box"}
        === plugins/box/commands/pack.md
        See [the guide](../guide.md).
        === plugins/box/guide.md
        text
        === plugins/box/README.md
        See [the guide](../../guide.md).
        === guide.md
        text
    """
    plugin = tree.plugin_of(document.path)
    if plugin is None or plugin.folder == "." or tree.skill_of(document.path) or document.path.endswith("README.md"):
        return
    for link, target in followed(document):
        if target.path and tree.exists(target.path) and not f"{target.path}/".startswith(f"{plugin.folder}/"):
            yield Problem(f"{link.target!r} leads out of the plugin", link.line, link.column)


@check("links/machine-path")
def machine_path(document: Document) -> Iterator[Problem]:
    """A link leads to a place on somebody's own machine.

    Why: it exists nowhere else, and it may give away a name.
    Mend: Use a path relative to the file.

    Bad:
        === SKILL.md +
        See [the page](file:///home/ann/page.md).
    Bad:
        === SKILL.md +
        See [the page](C:/Users/ann/page.md).
    Bad:
        === SKILL.md +
        See [the page](/home/ann/page.md).
    Good:
        === SKILL.md +
        See [the specification](https://example.org/home/page.md) or `file:///etc/hosts`.
    """
    for link in document.links:
        if MACHINE.match(link.target):
            yield Problem(f"{link.target!r} is a path of one machine", link.line, link.column)


@check("links/no-target", "warning")
def no_target(document: Document) -> Iterator[Problem]:
    """A link has no address.

    Why: it was meant to lead somewhere.
    Mend: Give it an address, or make it plain text.

    Bad:
        === SKILL.md +
        See [the page]().
    Bad:
        === SKILL.md +
        See [the page](#).
    Good:
        === SKILL.md +
        See [the page](#demo).
        # Demo
    """
    for link in () if COPIED.search(document.path) else document.links:
        if link.target in ("", "#"):
            yield Problem("the link has no address", link.line, link.column)


@check("links/undefined-reference", "warning")
def undefined_reference(document: Document) -> Iterator[Problem]:
    """A link by reference names a label that is defined nowhere.

    Why: it is shown as brackets, and leads nowhere.
    Mend: Define the label on a line of its own: `[label]: address`.

    Bad:
        === SKILL.md +
        See [the page][guide].
    Bad:
        === SKILL.md +
        See [the page][].
    Good:
        === SKILL.md +
        See [the page][guide], `rows[0][1]`, and x[a][b].

        [guide]: https://example.org/
    """
    for label in document.undefined:
        yield Problem(f"the label [{label.content}] is defined nowhere", label.line, label.column)


@check("links/backticked-path")
def backticked_path(document: Document, tree: Tree) -> Iterator[Problem]:
    """A path in back-ticks names a file of the skill that is not there.

    Why: assistants take such a path as an instruction to open the file.
    Mend: Correct the path, or better, make it a link.

    Bad:
        === SKILL.md +
        Read `references/gone.md` first.
        === references/page.md
        [up](../SKILL.md)
    Bad:
        === SKILL.md +
        Run `scripts/gone.py`.
        === scripts/there.py
        print("there")
    Good:
        === SKILL.md +
        Read `references/page.md`, run `scripts/there.py`, and edit the project's `scripts/` or `src/gone.py`.
        === references/page.md
        [up](../SKILL.md)
        === scripts/there.py
        print("there")
    """
    skill = tree.skill_of(document.path)
    if skill is None:
        return
    folders = {file.partition("/")[0] for file in skill.files}
    for span in document.spans:
        named = SKILL_PATH.match(span.content)
        if not named or named[1].partition("/")[0] not in folders:
            continue
        # A neighbour skill is often named in the sentence before: "see the box skill's `references/lids.md`".
        homes = (posixpath.dirname(document.path), *tree.skills)
        if not any(tree.exists(posixpath.normpath(posixpath.join(home, named[1]))) for home in homes):
            yield Problem(f"{span.content!r} is not in the skill", span.line, span.column)


@check("links/orphan-reference", "warning")
def orphan_reference(skill: Skill, tree: Tree) -> Iterator[Problem]:
    """A page in references/ that nothing in the skill leads to.

    Why: an assistant opens what SKILL.md leads to; a page that nothing names is never read.
    Mend: Link to it from SKILL.md, with a word on when to read it.

    Bad:
        === references/lonely.md
        # Lonely
    Good:
        === SKILL.md +
        When boxes are wet, read [this](references/linked.md). Others: `references/named.md`.
        === references/linked.md
        See [next](next.md).
        === references/named.md
        text
        === references/next.md
        text
    """
    if skill.document is None:
        return
    pages = {
        file
        for file in skill.files
        if file.startswith("references/") and file.lower().endswith(MARKDOWN) and not file.endswith("README.md")
    }
    if not pages:
        return
    reached: set[str] = set()
    for file in skill.files:
        document = tree.documents.get(skill.at(file))
        if document is None:
            continue
        for _, target in followed(document):
            if target.path != document.path:
                reached.add(target.path or "")
        named = {posixpath.basename(span.content.partition("#")[0]) for span in document.spans}
        if "references/" in {span.content for span in document.spans}:
            reached.add(skill.at("references"))
        reached.update(skill.at(page) for page in pages if page != file and posixpath.basename(page) in named)
    for page in sorted(pages):
        path = skill.at(page)
        if not {path, posixpath.dirname(path)} & reached and posixpath.basename(page) not in skill.document.text:
            yield Problem("nothing in the skill leads here", path=path)
