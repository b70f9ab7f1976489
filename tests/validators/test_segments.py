"""A document that is parsed in part holds what it holds when markdown-it-py parses the whole of it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it.token import Token
from validate import document
from validate.document import Document, parse

# What begins, ends, holds or interrupts a block, and what is looked for in one.
FRAGMENTS = [
    *(
        "---\n",
        "----\n",
        "...\n",
        "name: demo\n",
        "# A\n",
        "## B ##\n",
        "#\n",
        "### `c/d` #\n",
        "#no\n",
        "===\n",
        "=\n",
        "-\n",
    ),
    *("```\n", "```sh\n", "````\n", "~~~\n", "~~~ a`b\n", "  ```\n", "    ```\n", "```a``` b\n", "\t```\n", "``` \t\n"),
    *(
        "- ",
        "* ",
        "1. ",
        "2) ",
        "+\n",
        "> ",
        ">",
        "  ",
        "    ",
        "\t",
        "- [ ] ",
        "***\n",
        "___\n",
        "- - - - - - - - - - ",
    ),
    *(
        "<!-- ",
        " -->\n",
        "<!--\n",
        "-->\n",
        "<pre>\n",
        "</pre>\n",
        "<div>\n",
        "</div>\n",
        "<?\n",
        "<a id='x'>",
        "<b>\n",
    ),
    *(
        "[a](b.md)",
        "[a][b]",
        "[b]: c.md\n",
        "[b]: d.md 'e'\n",
        "[b]:\n",
        "[//]: # (f)\n",
        "[^1]: g\n",
        "![h][b]",
        "[b]",
        "<i/j>",
    ),
    *("`k/l.md`", "`m`", "`", "``", "\\", "\\`", "`n\n/o`", "` p.md `", "!", "&#35;", "{#id}\n", "q.M", "/"),
    *(
        "word",
        "Word word.\n",
        "| a | b |\n",
        "|---|---|\n",
        "12 x\n",
        "\n",
        "\n\n",
        "\n\n",
        "\n\nText\n\n",
        " \n",
        "\0",
        "é",
        "\u00a0",
    ),
]
MARKDOWN = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)
TOP = "---\nname: demo\n---\n"


def _whole(text: str, env: dict) -> list[Token]:
    return document._parser(document.BLOCKS).parse(text, env)


def _both(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Document, Document]:
    in_part = parse("a.md", text)
    with monkeypatch.context() as patch:
        patch.setattr(document, "_blocks", _whole)
        return in_part, parse("a.md", text)


@given(text=MARKDOWN)
@settings(max_examples=400, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_part, whole = _both(text, monkeypatch)
    assert in_part == whole


@pytest.mark.parametrize(
    "text",
    [
        "a\n\n<!--\n\nb\n\n# C\n\n```\n-->\n```\n\n# D\n",  # an HTML comment over a heading and a fence
        "a\n\n ```\n# B\n\nc\n```\nd\n# E\n",  # a fence that is indented, over a heading
        "a\n\n```\n# B\n\nc\n",  # a fence that is never closed
        "- a\n\n  ```\nb\n# C\n  ```\n",  # a fence that ends with its list
        "- a\n# B\n  c\n\n  ```\n  d\n  ```\n",  # the list does not go on after the heading
        "> a\nb\n\nc `d/e`\n===\n\nf\n---\n",
        "# A\n\nb\n\n[c][d] and ![e][d]\n\n# F\n\n[d]: g.md\n\nh\n\n[d]: i.md\n",
        "---\n# a\n\nb\n\n---\nc\n\n---\n",
        "----\na\n\nb\n\n---\n\n----\n",
        "# A\n\n- b `c\n- d` e/f `g/h`\n",
        "# A\n\n" + "- " * 30 + "# B\n\nc\n\n# D\n",
        "# A\n\nb\n\n" + "".join(f"{'  ' * depth}- c\n" for depth in range(30)) + "\n`d/e`\n",
    ],
)
@pytest.mark.parametrize("before", ["", TOP])
def test_known(text: str, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_part, whole = _both(before + text, monkeypatch)
    assert in_part == whole


def test_most_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    given_to_parser: list[str] = []
    parser = document._parser(document.BLOCKS)
    plain = parser.parse
    monkeypatch.setattr(parser, "parse", lambda text, env: given_to_parser.append(text) or plain(text, env))
    page = "# A\n\nText with `code` [x].\n\n```python\na = b[0][1]\n```\n\n- [ ] c\n- d\n\n" * 9
    parse("a.md", f"{TOP}{page}[e](f.md)\n")
    assert given_to_parser == ["___\n[e](f.md)\n"]
