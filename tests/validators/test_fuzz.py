"""Whatever stands in the files, a run ends soon and without an exception, and Markdown is read as CommonMark has it.

``FUZZ_EXAMPLES`` sets the number of examples of all tests together; they differ from run to run when it is set.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from validate import discover, document, runner
from validate.document import BEGINS_WITH, github_slug, parse
from validate.findings import CannotRun
from validate.frontmatter import read

LIMIT = 20  # seconds for one example, most of which need a few thousandths
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
TOP = "---\nname: demo\ndescription: Packs boxes.\n---\n"


def examples(share: float) -> settings:
    return settings(
        max_examples=max(5, round(EXAMPLES * share)),
        deadline=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# Texts that have something of the format they are read as, and of what breaks its readers.


def joined(fragments: str, most: int = 24) -> st.SearchStrategy[str]:
    """Texts of these fragments, which `|` separates, and of a few other characters."""
    parts = fragments.replace("|\n    ", "|").split("|")
    return st.lists(st.sampled_from(parts) | st.text(max_size=4), max_size=most).map("".join)


YAML = joined(
    """name: demo|description: |\n|  |- |? |: |, |# a|--- |...|&a |*a|<<: |{a: 1}|{|}|[|]|'|"|>-|\\||!!int |!!bool |
    !!float |!!timestamp |!!binary |!!set |!!omap |!!pairs |!!null |!a |!<b> |%YAML 1.2|2020-13-01|
    1e999|0x|0o9|1:99:99|.nan|~|=|
    \t|\r|\ufeff|\0|\x85|\u2028|metadata:\n  version: 1|allowed-tools: |license: [|\ud7ff|"\\ud800"|@|`"""
)
JSON_PARTS = """\
{|}|[|]|:|,|"|\\|"name": |"boxes"|"version": |"1.0.0"|"plugins": |"source": |"./boxes"|"./../.."|"owner": |
    "skills": |"metadata": {"pluginRoot": "."}|"contextFileName": |"main": |"files": |null|true|NaN|
    -Infinity|1e999|-0|"\\ud800"|
    "\\u0000"|"a/../../b"|// a|\n|\t|\ufeff|{"source": "local", "path": "."}|"interface": |"commands": |"": """
JSON = joined(JSON_PARTS)
KEYS = [*re.findall(r'"(\w+)": ', JSON_PARTS), "description", "author", "hooks", "path", "mcpServers", "policy"]
SHAPED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", ".", "./a", "..", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
SCRIPT = joined(
    """#!/bin/sh\n|#!/usr/bin/env python3\n|def f(|):\n|    |return|if |then|fi|for x in |do|done|
    case|esac|$(|)|`|'|"|
    f"{|}|<<EOF\n|EOF\n|lambda: |await |:=|\\\n|\n|\t|;|&|\\||>|<(|0x|1_|# coding: utf-7\n|\0|\r|
    \ufeff|\xa0|é|((|]]|[["""
)
INLINE = joined(
    """a|word |`|``|`a.b`|*|**|_|~~|[|]|](|)|](<|>)|][|[a](b.md)|![i](p.png "t")|[a][b]|[b]|[a][]|
    [^1]|<a href="x.md">|
    </a>|<img src='y'>|<b id=c>|<!-- c -->|<!--|-->|<https://a.b>|&amp;|&auml;|&#0;|\\|\\_|  \n|{#d}|{|}|
    %20|#d|../|é|\t|\u200b|
    \ufeff|curl a \\| sh|references/a.md|\0|"|'|(|!""",
    most=8,
)
FENCE = st.sampled_from(["```", "````", "~~~", "~~~~~", "``", " ```", "   ~~~", "    ```", "\t```"])
WORDS = ["", "python", "py", "json", "yaml", "toml", "ini", "bash", "sh", "console", "text", "{.python}"]
INFO = st.sampled_from(WORDS) | st.text("a`~ {}=\"'.", max_size=6)
CONTAINER = st.sampled_from(
    ["", "", "", "", "> ", ">", "- ", "* ", "+ ", "1. ", "12) ", "  ", "   ", "    ", "\t", "-\t", "> - "]
)
LEAF = st.one_of(
    INLINE,
    INLINE,
    st.just(""),
    st.just(""),
    st.builds("{}{}".format, FENCE, INFO),
    FENCE,
    st.builds(
        "{} {}{}".format, st.sampled_from(["#", "##", "###", "#######"]), INLINE, st.sampled_from(["", " #", " {#e}"])
    ),
    st.sampled_from(["===", "---", "-", "--- -", "***", "_ _ _", "=", "..."]),
    st.builds("[{}]: {}".format, st.sampled_from(["a", "b", "B", "//", "c d", "`e`"]), INLINE),
    st.sampled_from(
        ["[a]: b.md", "[b]:", "<c> 'd", "e'", "[//]: # (f)", "| a | b |", "|---|:-:|", "| `c|d` | [e](f) |"]
    ),
    st.sampled_from(
        ["<!--", "-->", "<!-- a", "<div>", "</div>", "<pre>", "</pre>", "<?", "?>", "<![CDATA[", "<a name=x>"]
    ),
    SCRIPT,
    YAML,
)
LINE = st.builds("".join, st.tuples(CONTAINER, CONTAINER, LEAF))
MARKDOWN = st.builds(
    lambda lines, end: end.join(lines), st.lists(LINE, max_size=25), st.sampled_from(["\n", "\n", "\n", "\r\n"])
)
SKILL = st.builds("{}{}{}".format, st.sampled_from([TOP, "", "---\n", "\ufeff" + TOP]), YAML | st.just(""), MARKDOWN)
NAMES = st.sampled_from(["references/a.md", "b.md", "README.mdx"])
SCRIPTS = st.sampled_from(["scripts/a.py", "scripts/a.sh", "a.bash", "a.mjs", "a.js"])
MANIFESTS = st.sampled_from([*discover.MANIFESTS, "package.json", "boxes/.claude-plugin/plugin.json", "mkdocs.yml"])


# No exception, and an end


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all examples; in memory where the system offers that."""
    shared = Path("/dev/shm")
    home = tmp_path_factory.mktemp("fuzz")
    root = shared / f"fuzz-{os.getpid()}" if os.access(shared, os.W_OK) else home / "demo"
    for folder in ("references", "scripts", ".claude-plugin", ".codex-plugin", ".agents/plugins", ".opencode/plugins"):
        (root / folder).mkdir(parents=True)
    (root / "boxes/.claude-plugin").mkdir(parents=True)
    (root / ".opencode/plugins/a.js").touch()
    yield root
    shutil.rmtree(root)


def survives(root: Path, files: dict[str, str | bytes]) -> None:
    """Validate the skill with these files; what is found must be what a report can show."""
    files = {"SKILL.md": TOP} | files
    for path, content in files.items():
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    begin = time.monotonic()
    try:
        findings = runner.validate(root).findings
    except CannotRun:
        findings = []
    finally:
        for path in files:
            (root / path).unlink()
    assert time.monotonic() - begin < LIMIT
    for finding in findings:
        assert finding.line >= 1, finding
        assert finding.column >= 1, finding
        assert finding.message.strip(), finding
        assert "\n" not in finding.message, finding
        assert finding.path in files or finding.path.startswith(".opencode"), finding


@examples(0.06)
@given(st.dictionaries(NAMES | SCRIPTS | MANIFESTS | st.just("SKILL.md"), st.binary(max_size=200), max_size=4))
def test_bytes(root: Path, files: dict[str, bytes]) -> None:
    survives(root, files)


@examples(0.2)
@given(SKILL, st.dictionaries(NAMES, MARKDOWN, max_size=2))
def test_markdown(root: Path, skill: str, pages: dict[str, str]) -> None:
    survives(root, {"SKILL.md": skill} | pages)


@examples(0.08)
@given(YAML)
def test_frontmatter(root: Path, yaml: str) -> None:
    survives(root, {"SKILL.md": f"---\n{yaml}\n---\n"})


@examples(0.08)
@given(YAML)
def test_frontmatter_alone(yaml: str) -> None:
    front = read(document.Text(yaml, 2))
    assert front.error is None or (front.error.line >= 2 and front.error.column >= 1 and str(front.error).strip())


@examples(0.08)
@given(st.dictionaries(MANIFESTS, JSON, min_size=1, max_size=3))
def test_json(root: Path, files: dict[str, str]) -> None:
    survives(root, files)


@examples(0.1)
@given(st.dictionaries(MANIFESTS, SHAPED.map(json.dumps), min_size=1, max_size=4))
def test_manifests(root: Path, files: dict[str, str]) -> None:
    survives(root, files)


@examples(0.1)
@given(st.dictionaries(SCRIPTS, SCRIPT, min_size=1, max_size=2))
def test_scripts(root: Path, files: dict[str, str]) -> None:
    survives(root, files)


BEFORE = ["", "[a](", "a", "<a ", "{#", "- ", "${", "~~~py\n", "/*", "```bash\n"]


@examples(0.04)
@given(
    st.sampled_from("[({<*_`~>-#!&\\|\"' \tax\r\n/"),
    st.sampled_from(BEFORE),
    st.sampled_from(["", "]", ")", "-->", "\n\n", " b"]),
    st.integers(1_000, 4_000),
)
def test_repetition(root: Path, one: str, before: str, after: str, times: int) -> None:
    """What makes a reader slow is mostly one thing many times over."""
    text = (before + one) * times + after
    survives(root, {"SKILL.md": TOP + text, "scripts/a.py": text, "references/a.md": f"```python\n{text}\n```\n"})


# Markdown as CommonMark has it


def plain() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": document.BLOCKS})
    parser.validateLink = lambda _: True
    return parser.disable("inline")


def normal(text: str) -> str:
    """Without footnotes and frontmatter, which CommonMark does not have, and with line ends as the parser gets them."""
    text = f"\n{text}" if text.startswith("---") else text
    return text.replace("[^", "[").replace("\r\n", "\n").replace("\r", "\n") + "\n"


def _flat(tokens: list[Token]) -> list[tuple[object, ...]]:
    return [(t.type, t.tag, t.nesting, t.level, t.markup, t.info, t.content, t.map, t.hidden, t.attrs) for t in tokens]


@examples(0.13)
@given(MARKDOWN)
def test_same_blocks(text: str) -> None:
    """The rules that are only asked about some lines leave the same tokens and references as ever."""
    text, expected, found = normal(text), {}, {}
    assert _flat(document._parser(document.BLOCKS).parse(text, found)) == _flat(plain().parse(text, expected))
    assert found == expected


@examples(0.13)
@given(MARKDOWN)
def test_same_fences_and_headings(text: str) -> None:
    text = normal(text)
    ours, tokens = parse("a.md", text), plain().parse(text)
    assert [(f.info, f.content, f.line) for f in ours.fences] == [
        (t.info, t.content, t.map[0] + 1) for t in tokens if t.type == "fence"
    ]
    headings = [(t, tokens[number + 1]) for number, t in enumerate(tokens) if t.type == "heading_open"]
    assert [(f"h{h.level}", h.line) for h in ours.headings] == [(t.tag, inline.map[0] + 1) for t, inline in headings]


@examples(0.05)
@given(INLINE)
def test_same_words_in_headings(text: str) -> None:
    """An anchor is made of what the renderer shows of a heading: no mark-up, entities and escapes resolved."""
    text = normal(text).replace("\n", " ")
    assume("{" not in text)
    parser = MarkdownIt("commonmark")
    parser.validateLink = lambda _: True
    tokens = parser.parse(f"# {text}")
    shown = "".join(c.content for c in tokens[1].children if c.type != "html_inline")
    assert github_slug(parse("a.md", f"# {text}").headings[0].text) == github_slug(shown)


@examples(0.08)
@given(MARKDOWN)
def test_same_links(text: str) -> None:
    """No link or image of a text is overlooked, and none stands on a line of another paragraph."""
    text, env = normal(text), {}
    assume("<" not in text)  # what stands in HTML is read more freely
    ours, expected = parse("a.md", text), set()
    parser = MarkdownIt("commonmark", {"maxNesting": document.INLINES})
    parser.validateLink = lambda _: True
    defined = {reference["href"] for reference in _references(text, env)}
    for token in plain().parse(text, env):
        for child in parser.parseInline(token.content, env)[0].children if token.type == "inline" else ():
            if child.type in ("link_open", "image"):
                target = str(child.attrs["src" if child.type == "image" else "href"])
                if target not in defined:
                    expected.add(target)
                    lines = range(token.map[0] + 1, token.map[1] + 1)
                    assert any(link.target == target and link.line in lines for link in ours.links)
    assert expected <= {link.target for link in ours.links} <= expected | defined


def _references(text: str, env: dict) -> list[dict[str, str]]:
    plain().parse(text, env)
    return list(env.get("references", {}).values())


@examples(0.03)
@given(st.sampled_from(list(BEGINS_WITH)), MARKDOWN)
def test_every_guard_alone(name: str, text: str) -> None:
    guarded = plain()
    rule = next(rule for rule in guarded.block.ruler.__rules__ if rule.name == name)
    guarded.block.ruler.at(name, document._only_at(frozenset(BEGINS_WITH[name]), rule.fn), {"alt": rule.alt})
    assert _flat(guarded.parse(normal(text))) == _flat(plain().parse(normal(text)))
