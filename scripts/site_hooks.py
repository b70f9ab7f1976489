"""What MkDocs calls while it builds the site; see mkdocs.yml.

It adds the pages that stand elsewhere in the repository or are made from it, leads links between them, and puts beside
each section of the guide its evidence, the symptoms that lead to it, and its picture. Every page also becomes Markdown.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from documentation import compatibility, evaluations, install, rules, symptoms
from documentation.evidence import Evidence
from documentation.home import facts
from documentation.search import ranked
from documentation.sources import ELSEWHERE, HEADING, REFERENCES, block, outside_fences, read, with_links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from validate.document import site_slug

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
PICTURE = re.compile(r"^!\[[^]]*\]\(pictures/([\w-]+\.svg)\)$", re.MULTILINE)
BLOCK = re.compile(r"<!-- block: ([\w#-]+) -->")
CONTENTS = re.compile(r"^## Contents\n.*?(?=^## )", re.DOTALL | re.MULTILINE)  # a page's own; the site shows its own
SINCE = re.compile(r"(?<![\w.])(\d\.\d\+)(?![\w.])")
TAGS = re.compile(r"(<(?:pre|code|svg)\b.*?</(?:pre|code|svg)>|<[^>]+>)", re.DOTALL)
NO_HEAD = re.compile(r"<thead>\s*<tr>(\s*<th></th>)+\s*</tr>\s*</thead>\n?")
# The pictures, and the section of the guide that each belongs to.
PICTURES = {
    "on-commit": "django-integration#publish-after-commit",
    "prefetch-and-acknowledgement": "configuration-guide#acknowledgement",
    "visibility-timeout": "configuration-guide#visibility-timeout",
    "shutdown-modes": "production-deployment#shutdown",
    "retry-backoff": "error-handling#retry",
    "chord-with-a-failing-member": "task-design-patterns#chords-that-fail",
    "beat-to-worker": "periodic-tasks#run-one-beat",
}


class Build:
    """What one build knows: made anew each time, so that `make site` shows what was edited."""

    def __init__(self) -> None:
        self.evidence = Evidence()
        self.symptoms = symptoms.by_section()
        self.markdown: dict[str, str] = {}  # of each page, by its place, links led


build: Build  # made when the files are known


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not stand in docs/."""
    global build
    build = Build()
    made = {page: FRONT_MATTER.sub("", read(source)) for page, source in ELSEWHERE.items()}
    made |= {
        "compatibility.md": compatibility.page(),
        "evaluation-cases.md": evaluations.page(),
        "evidence.md": build.evidence.page(),
        "install.md": install.page(),
        **dict(rules.pages()),
    }
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links; in the guide, put beside each section what belongs to it."""
    place = page.file.src_uri
    pages = {file.src_uri for file in files.documentation_pages()}
    if place == "index.md":
        markdown = BLOCK.sub(lambda found: block(found[1]), markdown.replace("<!-- facts -->", facts()))
    markdown = with_links(markdown, place, pages, config.repo_url or "")
    build.markdown[place] = markdown
    if place.startswith("references/"):
        markdown = _with_company(markdown, place.removeprefix("references/").removesuffix(".md"))
    return PICTURE.sub(lambda found: _picture(found[1]), markdown)


def _with_company(markdown: str, name: str) -> str:
    """The text of a reference with a badge, symptoms and a picture under its headings, and without its own contents."""

    def add(line: str) -> str:
        heading = HEADING.match(line)
        if not heading or heading[1] != "##":
            return line
        section = f"{name}#{site_slug(heading[2])}"
        parts = [line, build.evidence.badge(section)]
        seen = build.symptoms.get(section)
        if seen:
            parts.append(f"You see: {' · '.join(seen)}\n{{ .symptoms }}")
        parts += [f"![](pictures/{picture}.svg)" for picture, at in PICTURES.items() if at == section]
        return "\n\n".join(part for part in parts if part) + "\n"

    return outside_fences(CONTENTS.sub("", markdown), add)


def _picture(name: str) -> str:
    return f'<div class="picture-frame" tabindex="0">\n{read(f"docs/pictures/{name}").strip()}\n</div>'


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show versions as such; a table's empty corner is no heading of anything."""
    html = NO_HEAD.sub("", html).replace("<th></th>", "<td></td>")
    if page.file.src_uri not in ELSEWHERE:
        return html
    parts = TAGS.split(html)
    return "".join(
        part if at % 2 else SINCE.sub(r'<span class="since">\1</span>', part) for at, part in enumerate(parts)
    )


def on_post_build(config: MkDocsConfig) -> None:
    """Every page as Markdown beside its HTML, the two lists for assistants, and the search by symptom."""
    site = Path(config.site_dir)
    index = site / "search" / "search_index.json"
    kept = json.loads(index.read_text(encoding="utf-8"))
    index.write_text(json.dumps(kept | {"docs": ranked(kept["docs"], build.symptoms)}), encoding="utf-8")
    for place, markdown in build.markdown.items():
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        (site / place).write_text(markdown, encoding="utf-8")
    guide = ["skill.md", *(f"references/{name}.md" for name in REFERENCES)]
    lines = [f"# {config.site_name}", f"> {config.site_description}", "", "## Guide", ""]
    rest = [place for place in build.markdown if place not in guide]
    for title, places in (("", guide), ("\n## More\n", rest)):
        lines += [title] if title else []
        lines += [f"- [{_title(build.markdown[place], place)}]({place})" for place in places]
    (site / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = "\n\n".join(build.markdown[place].strip() for place in guide)
    (site / "llms-full.txt").write_text(whole + "\n", encoding="utf-8")


def _title(markdown: str, place: str) -> str:
    return next((line[2:] for line in markdown.splitlines() if line.startswith("# ")), place)
