"""A Markdown file, parsed once: frontmatter, headings, links, code spans, fences and comments with their positions.

Blocks are found by markdown-it-py as CommonMark defines them, so a fence in a list, a quote or a longer fence is
seen as a reader's renderer sees it and one inside an HTML comment is not. Blocks and inline content are parsed only
where they can hold something of interest; tables stay paragraphs, which changes neither links nor code spans.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from functools import cache
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.common.utils import mdTrim, normalizeReference
from markdown_it.parser_block import RuleFuncBlockType as RuleFunc
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token

# What GitHub keeps of a heading beside - and space: letters, marks, decimal and letter numbers, connectors.
SLUG_CATEGORIES = {"Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "Pc"}
SHELL = {"bash", "sh", "shell", "zsh"}  # zsh and bash differ in little that examples show
FENCE_TITLE = re.compile(r"""\btitle=(?:"([^"]*)"|'([^']*)')""")
LANGUAGE = re.compile(r"^\s*\{?\s*\.?([\w+#.-]+)")
CLOSING_FENCE = re.compile(r"^[\s>]*(`{3,}|~{3,})\s*$")
FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!--(.*?)(?:-->|\Z)", re.DOTALL)
# In what follows a text that looks like a beginning ends the match, so that no input is read over and over.
HTML_ANCHOR = re.compile(r"""<[a-zA-Z][^<>]*?\s(?:id|name)\s*=\s*["']?([^"'\s>]+)""")
HTML_TARGET = re.compile(r"""<(a|img)\b[^<>]*?\s(?:href|src)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
EXPLICIT_ID = re.compile(r"\{:?\s*#([\w-]+)[^{}]*\}\s*$")
FULL_REFERENCE = re.compile(r"(?<![\w\]\\!)])!?\[((?:[^\[\]\\\n]|\\.)+)\]\[(?!\^)([^\[\]\n]*)\](?![\[(])")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
NAMES_FILE = re.compile(r"/|\.m", re.IGNORECASE)  # a code span that can be a path, or the name of a page
# Text without a link, a definition, HTML and such a code span; every other span in it stands on one line.
PLAIN = re.compile(r"(?:[^`<\]\\]+|\\(?!`)|`(?![^`\n]*\.[mM])[^`/\n]+`(?!`)|\](?![(\[:]))*+")
MORE_THAN_SPANS = re.compile(r"[<\\]|``|\][(\[]|!\[")
NEEDS_INLINE = re.compile(r"[`*_\[<&\\]")
OF_INTEREST = {"inline", "heading_open", "fence", "html_block"}
# The pieces that a document is cut into, see _blocks.
HEADING = re.compile(r"(#{1,6})(?:[ \t](.*))?(?:\n|\Z)")
OPENING_FENCE = re.compile(r"(`{3,}(?=[^`\n]*$)|~{3,})(.*)", re.MULTILINE)
# Other pieces end before a heading or a fence, and after a blank line before what is neither indented nor a list item.
BOUNDARY = re.compile(
    r"\n(?:(?=`{3,}[^`\n]*$|~~~|#{1,6}(?:[ \t]|$))|\n(?=[^\s*+\-\d]|[*+-]\S|\d+[^\d.)]))", re.MULTILINE
)
# A line with a heading or a fence in a container, with the underline of a heading, or indented by tabs or very deep.
MARKER = re.compile(
    r"\n(?:[ >*+\-\d.)]*+(?:#|~~~|\t)|[ >*+\-\d.)]{18}|(?<!\n\n)[ >]*+(?:-++|=++)[ \t]*$)", re.MULTILINE
)
IN_HEADING = ("text", "text_special", "code_inline", "image")  # what gives a heading's anchor its letters


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str
    line: int
    id: str | None = None  # set by hand: ``## Title {#id}``


@dataclass(frozen=True, slots=True)
class Link:
    target: str
    line: int
    column: int
    image: bool = False


@dataclass(frozen=True, slots=True)
class Fence:
    info: str
    content: str
    line: int  # of the opening fence
    closed: bool

    @property
    def language(self) -> str:
        """The first word of the info string in lower case; ``{.python}`` and ``python{1,2}`` are python."""
        found = LANGUAGE.search(self.info)
        return found[1].lower() if found else ""

    def file_line(self, line: int) -> int:
        """The line of the file for a line of the content, both from 1."""
        return self.line + max(line, 1)

    @property
    def title(self) -> str | None:
        found = FENCE_TITLE.search(self.info)
        return (found[1] or found[2]) if found else None


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text (a code span, a comment, a label) and where it begins."""

    content: str
    line: int
    column: int = 1


@dataclass(slots=True)
class Document:
    """``path`` is relative to the validated folder; ``lines`` are those of ``text``, which keeps its positions."""

    path: str
    text: str
    lines: list[str]
    frontmatter: Text | None = None
    headings: list[Heading] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    links: list[Link] = field(default_factory=list)
    undefined: list[Text] = field(default_factory=list)
    spans: list[Text] = field(default_factory=list)
    fences: list[Fence] = field(default_factory=list)
    comments: list[Text] = field(default_factory=list)

    def slugs(self, rule: str) -> set[str]:
        """The anchors of all headings under ``github`` or ``site`` rules, and those set in HTML."""
        make, joint = {"github": (github_slug, "-"), "site": (site_slug, "_")}[rule]
        seen: dict[str, int] = {}
        slugs = set(self.anchors)
        for heading in self.headings:
            base = make(heading.text)
            count = seen.get(base, 0)
            seen[base] = count + 1
            slugs.add(f"{base}{joint}{count}" if count else base)
            if heading.id:
                slugs.add(heading.id)
        return slugs

    def strip(self) -> None:
        """Drop what no later check needs (SKILL.md's text one does), so that little travels between processes."""
        self.lines = []
        if not self.path.lower().endswith("skill.md"):
            self.text = ""
        self.fences = [fence if fence.language in SHELL else replace(fence, content="") for fence in self.fences]


def github_slug(text: str) -> str:
    """A heading's anchor on GitHub: lower case, punctuation dropped, each space a hyphen."""
    kept = (c for c in text.strip().lower() if c in " -" or unicodedata.category(c) in SLUG_CATEGORIES)
    return "".join(kept).replace(" ", "-")


def site_slug(text: str) -> str:
    """A heading's anchor in MkDocs (Python-Markdown's default): ASCII only, runs of spaces and hyphens are one."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


# The characters a block of each kind can begin with: a rule need not be asked about any other line.
BEGINS_WITH = {
    "fence": "`~",
    "blockquote": ">",
    "hr": "*-_",
    "list": "*+-0123456789",
    "reference": "[",
    "html_block": "<",
    "heading": "#",
}


BLOCKS, INLINES = 10_000, 20  # levels of nesting; at the limit a parser passes over the rest of what it was given


@cache
def _parser(nesting: int) -> MarkdownIt:
    """The parser of blocks, or of what is in one; ``nesting`` tells them apart, as no block may be passed over.

    Every address counts as a link: ``file:`` and the like are findings, not prose.
    """
    parser = MarkdownIt("commonmark").disable("inline")
    parser.validateLink = lambda _: True
    parser.options["maxNesting"] = nesting
    rules = {rule.name: rule for rule in parser.block.ruler.__rules__}
    for name, first in BEGINS_WITH.items():
        parser.block.ruler.at(name, _only_at(frozenset(first), rules[name].fn), {"alt": rules[name].alt})
    parser.block.ruler.before("code", "front_matter", _front_matter)
    reference = parser.block.ruler.__rules__[parser.block.ruler.__find__("reference")]
    parser.block.ruler.at("reference", _no_footnote(reference.fn), {"alt": reference.alt})
    return parser


def _only_at(first: frozenset[str], rule: RuleFunc) -> RuleFunc:
    """The same rule, not asked about lines that begin with none of the characters (a tenth of the time)."""

    def guarded(state: StateBlock, line: int, end: int, silent: bool) -> bool:
        at = state.bMarks[line] + state.tShift[line]
        return state.src[at : at + 1] in first and rule(state, line, end, silent)

    return guarded


def _front_matter(state: StateBlock, line: int, end: int, silent: bool) -> bool:  # noqa: ARG001  a rule's signature
    """The block on top of the file between two lines of three hyphens, as clients look for it."""
    found = FRONT_MATTER.match(state.src) if line == state.level == 0 else None
    if not found:
        return False
    token = state.push("front_matter", "", 0)
    token.content = found[1].removesuffix("\n")
    state.line = found[1].count("\n") + 2
    token.map = [0, state.line]
    return True


def _no_footnote(rule: RuleFunc) -> RuleFunc:
    """The rule for link definitions, not asked about footnotes: `[^1]: Yes.` leads nowhere and is meant to."""

    def guarded(state: StateBlock, line: int, end: int, silent: bool) -> bool:
        at = state.bMarks[line] + state.tShift[line]
        return not state.src.startswith("[^", at) and rule(state, line, end, silent)

    return guarded


def parse(path: str, text: str) -> Document:
    """Parse one file. ``RecursionError`` escapes for input that is nested beyond reason."""
    document = Document(path, text, text.split("\n"))
    parser, env = _parser(INLINES), {}
    # Without a line break at the end, markdown-it-py fails on `> - <!--\n> `.
    tokens = _blocks(text if text.endswith("\n") else f"{text}\n", env)
    references = env.get("references", {})
    heading: Token | None = None
    for token in tokens:
        kind = token.type
        if kind == "inline":
            if heading is not None:
                document.headings.append(_heading(parser, heading, token, env))
                heading = None
            if not PLAIN.fullmatch(token.content):
                _inline(document, parser, token, env)
        elif kind == "heading_open":
            heading = token
        elif kind == "fence":
            document.fences.append(_fence(document, token))
        elif kind == "html_block":
            _html(document, token.content, token.map[0] + 1)
        elif kind == "front_matter":
            document.frontmatter = Text(token.content, 2)
    for reference in (*references.values(), *env.get("duplicate_refs", ())):
        line = reference["map"][0] + 1
        if reference["href"] in ("", "#") and reference["title"]:  # `[//]: # (words)`, a comment that nobody is shown
            document.comments.append(Text(reference["title"], line))
        elif reference in references.values():
            document.links.append(Link(reference["href"], line, _column(document, line, reference["href"])))
    return document


def _blocks(text: str, env: dict) -> list[Token]:
    """The tokens of interest that the block parser gives for a text, in a fraction of its time.

    Most of a page is headings and fences at the margin, which a pattern reads as well, and text with nothing of
    interest. These are cut out, and the parser gets the rest with a thematic break, ``___``, for each cut: it ends
    whatever that heading, that fence, or that paragraph after a blank line ended. If every break comes out at the top
    level, no block reached over a cut and the rest means what it meant. If one does not (in an HTML comment, in a
    fence that is indented), the whole text is parsed.
    """
    text = text.replace("\0", "\ufffd")  # as the parser does
    found: list[Token] = []
    kept: list[str] = []
    lines: list[int] = []  # for each line kept, its number in the text, and -1 for a cut
    start = line = 0
    while start < len(text):
        end, keep = len(text), True
        if start == 0 and (front := FRONT_MATTER.match(text)):
            end, keep = min(front.end() + 1, end), False
            found.append(Token("front_matter", "", 0, map=[0, 0], content=front[1].removesuffix("\n")))
        elif heading := HEADING.match(text, start):
            end, keep = heading.end(), False
            found += _heading_tokens(heading[1], heading[2] or "", line)
        elif opening := OPENING_FENCE.match(text, start):
            if closing := _closing(opening[1]).search(text, opening.end()):
                end, keep = closing.end(), False
                content = text[opening.end() + 1 : closing.start() + 1]
                place = [line, line + content.count("\n") + 2]
                found.append(Token("fence", "code", 0, map=place, info=opening[2], content=content))
        else:
            if boundary := BOUNDARY.search(text, start):
                end = boundary.end()
            keep = start == 0 or not PLAIN.fullmatch(text, start, end) or MARKER.search(text, start - 1, end)
        following = line + text.count("\n", start, end)
        if keep:
            kept.append(text[start:end])
            lines += range(line, following + (end == len(text)))
        elif not lines or lines[-1] >= 0:
            kept.append("___\n")
            lines.append(-1)
        start, line = end, following
    cuts = lines.count(-1)
    tokens = _parser(BLOCKS).parse("".join(kept), env) if len(kept) > cuts else []
    breaks = [token for token in tokens if token.type == "hr" and token.level == 0 and lines[token.map[0]] < 0]
    if len(kept) > cuts > len(breaks):
        env.clear()
        return _parser(BLOCKS).parse(text, env)
    tokens = [token for token in tokens if token.type in OF_INTEREST]
    for token in tokens:
        token.map = [lines[token.map[0]], lines[token.map[1] - 1] + 1]
    for reference in (*env.get("references", {}).values(), *env.get("duplicate_refs", ())):
        reference["map"] = [lines[reference["map"][0]]]
    return sorted(found + tokens, key=lambda token: token.map[0])


def _heading_tokens(marks: str, title: str, line: int) -> list[Token]:
    title = title.rstrip(" \t")
    without = title.rstrip("#")
    if without[-1:] in ("", " ", "\t"):  # a closing sequence of marks
        title = without
    place = [line, line + 1]
    return [
        Token("heading_open", f"h{len(marks)}", 1, map=place),
        Token("inline", "", 0, map=place, content=mdTrim(title)),
    ]


@cache
def _closing(fence: str) -> re.Pattern[str]:
    """What closes a fence: as many of its characters or more, alone on a line."""
    return re.compile(rf"\n {{0,3}}{fence}{fence[0]}*[ \t]*(?:\n|\Z)")


def _fence(document: Document, token: Token) -> Fence:
    first, end = token.map
    last = document.lines[min(end, len(document.lines)) - 1] if end - first > 1 else ""
    held = token.content.count("\n") + (token.content[-1:] not in ("", "\n"))  # lines between the first and the last
    closed = end - first == held + 2 and CLOSING_FENCE.match(last) is not None
    return Fence(token.info, token.content, first + 1, closed)


def _heading(parser: MarkdownIt, opening: Token, inline: Token, env: dict) -> Heading:
    text, id = inline.content, None
    if "{" in text and (explicit := EXPLICIT_ID.search(text)):
        text, id = text[: explicit.start()].rstrip(), explicit[1]
    if NEEDS_INLINE.search(text):
        children: list[Token] = []
        parser.inline.parse(text, parser, env, children)
        text = "".join(
            child.content if child.type in IN_HEADING else " " * (child.type in ("softbreak", "hardbreak"))
            for child in children
        )
    return Heading(int(opening.tag[1]), text, inline.map[0] + 1, id)


def _inline(document: Document, parser: MarkdownIt, token: Token, env: dict) -> None:
    """Collect the links, images, code spans and HTML of one paragraph, heading or cell."""
    content, references = token.content, env.get("references", {})
    defined = {reference["href"] for reference in references.values()}
    at = 0  # how far into the content the tokens have come
    ends: list[int] = []  # of the open links

    def place(*needles: str) -> tuple[int, int, int]:
        """Line and column of the first of the needles that follows, and the offset of its end."""
        needle, start = next(((n, found) for n in needles if (found := content.find(n, at)) >= 0), ("", at))
        line = token.map[0] + 1 + content.count("\n", 0, start)
        return line, _column(document, line, needle.lstrip("](<`")), start + len(needle)

    children: list[Token] = []
    if MORE_THAN_SPANS.search(content):
        parser.inline.parse(content, parser, env, children)
    else:  # every other back-tick closes what the one before it opened
        for span in content.replace("\n", " ").split("`")[1:-1:2]:
            padded = span[0] == span[-1] == " " and span.strip(" ")
            children.append(Token("code_inline", "code", 0, content=span[1:-1] if padded else span))
    for child in children:
        if child.type == "code_inline":
            line, column, at = place(f"`{child.content}", child.content)
            if NAMES_FILE.search(child.content):
                document.spans.append(Text(child.content, line, column))
        elif child.type == "html_inline":
            line, _, at = place(child.content)
            _html(document, child.content, line)
        elif child.type == "link_close":
            at = max(at, ends.pop())
        elif child.type in ("link_open", "image"):
            image = child.type == "image"
            target = str(child.attrs["src" if image else "href"])
            end = at
            # A link by reference is checked once, where its address stands: in the definition.
            inline = target not in defined or f"]({target}" in content or f"](<{target}" in content
            if inline and child.info != "auto":
                written = [f"{before}{way}" for before in ("](", "](<", "") for way in (target, unquote(target))]
                line, column, end = place(*written)
                document.links.append(Link(target, line, column, image=image))
            if image:
                at = end
            else:
                ends.append(end)
    if "][" in content:
        for found in FULL_REFERENCE.finditer(COMMENT.sub(_blank, CODE_SPAN.sub(_blank, content))):
            label = content[slice(*found.span(2 if found[2] else 1))]
            if normalizeReference(label) not in references:
                line = token.map[0] + 1 + content.count("\n", 0, found.start())
                document.undefined.append(Text(label, line, _column(document, line, content[slice(*found.span())])))


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _html(document: Document, content: str, line: int) -> None:
    for found in COMMENT.finditer(content):
        document.comments.append(Text(found[1], line + content.count("\n", 0, found.start())))
    visible = COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), content)
    document.anchors.update(HTML_ANCHOR.findall(visible))
    for found in HTML_TARGET.finditer(visible):
        at = line + visible.count("\n", 0, found.end())
        document.links.append(Link(found[2] or found[3] or "", at, 1, image=found[1].lower() == "img"))


def _column(document: Document, line: int, needle: str) -> int:
    return max(document.lines[line - 1].find(needle), 0) + 1 if line <= len(document.lines) else 1
