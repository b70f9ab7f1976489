"""The search leads from what people see to the section that helps."""

from __future__ import annotations

import re

import pytest
from documentation import symptoms
from playwright.sync_api import Page, expect
from visiting import Visits

FIRST = 3
# As people say it, which is not always as the page says it.
WANTED = {
    "runs twice": "task-design-patterns#idempotency",
    "e-mail sent twice": "task-design-patterns#idempotency",
    "charged twice": "error-handling#payments",
    "DoesNotExist": "django-integration#publish-after-commit",
    "lost on deploy": "production-deployment#shutdown",
    "WorkerLostError": "error-handling#lost-workers",
    "queue keeps growing": "monitoring-observability#queue-depth",
    "beat sent nothing": "periodic-tasks#beat-health",
    "visibility timeout": "configuration-guide#visibility-timeout",
    "chord never finishes": "task-design-patterns#chords-that-fail",
    "poison message": "error-handling#poison-messages",
    "delay hangs": "error-handling#broker-down-at-publish",
    "wrong hour after DST": "periodic-tasks#time-zones-and-dst",
    "stuck in PENDING": "monitoring-observability#stuck-task-playbook",
    "unregistered task": "monitoring-observability#stuck-task-playbook",
    "too many connections": "django-integration#database-connections",
    "memory grows": "production-deployment#memory",
    "429": "task-design-patterns#rate-limits",
    "setting ignored": "configuration-guide#old-setting-names",
    "revoke does not stop": "task-design-patterns#cancel-a-task",
}


def found(page: Page, words: str) -> list[str]:
    """The first results as ``page#section``, headings of pages included."""
    query = page.locator(".md-search__input")
    for text, answer in (("", "Type to start searching"), (words, re.compile("matching document"))):
        query.fill(text)
        query.press("End")  # the search listens to keys
        expect(page.locator(".md-search-result__meta")).to_have_text(answer)
    links = page.locator(".md-search-result__link:visible").all()[:FIRST]
    return [re.sub(r".*/([\w-]+)/(?:\?h=[^#]*)?", r"\1", link.get_attribute("href")) for link in links]


@pytest.mark.parametrize(("words", "section"), WANTED.items(), ids=WANTED)
def test_by_symptom(visit: Visits, words: str, section: str) -> None:
    assert section in found(visit(), words)


def test_every_symptom_of_the_decision_page(visit: Visits) -> None:
    wanted: dict[str, set[str]] = {}
    for section, seen in symptoms.by_section().items():
        for text in seen:
            wanted.setdefault(text.replace("`", ""), set()).add(section)
    assert len(wanted) > 30
    page = visit()
    missed = {}
    for text, sections in wanted.items():
        results = found(page, text)
        if sections.isdisjoint(results):
            missed[text] = results
    assert missed == {}
