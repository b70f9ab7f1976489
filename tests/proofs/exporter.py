"""The page's queue exporter, on a port that is free."""

from __future__ import annotations

from servers import free_port
from shop import Shop
from web import answered, scrape

# The page's port may be taken, so its command is run with another.
ELSEWHERE = """
import prometheus_client
serve = prometheus_client.start_http_server
prometheus_client.start_http_server = lambda port, **rest: serve({port}, **rest)
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "queue_exporter"])
"""


class Exporter:
    """The page's command ``queue_exporter``, running."""

    def __init__(self, shop: Shop) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/metrics"
        shop.python("exporter", "-c", ELSEWHERE.format(port=port))
        answered(self.url)

    def scrape(self) -> dict[str, float]:
        """What it says of the broker."""
        return scrape(self.url)

    def ready(self) -> dict[str, float]:
        """The depths, by queue."""
        head = 'celery_queue_ready{queue="'
        return {key.removeprefix(head)[:-2]: value for key, value in self.scrape().items() if key.startswith(head)}
