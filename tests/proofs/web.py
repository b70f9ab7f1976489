"""HTTP as a scraper, a probe or a browser sees it."""

from __future__ import annotations

import http.client
from base64 import b64encode
from contextlib import suppress
from urllib.parse import urlsplit

from waiting import until


def ask(url: str, method: str = "GET", login: str = "", body: str = "", seconds: float = 30) -> tuple[int, str]:
    """The status and the body of an answer; ``login`` is ``user:password``. No redirect is followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def answered(url: str) -> tuple[int, str]:
    """The first answer of a server that is about to start."""

    def first() -> tuple[int, str] | None:
        with suppress(ConnectionError):
            return ask(url)
        return None

    return until(first, 40, f"{url} answers")


def scrape(url: str) -> dict[str, float]:
    """What Prometheus reads: ``{'celery_queue_ready{queue="mail"}': 4.0}``."""
    status, text = ask(url)
    assert status == 200, text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
