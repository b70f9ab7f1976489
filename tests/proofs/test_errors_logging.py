"""error-handling: what the worker writes about a failure."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import MakeShop
from waiting import until


@pytest.mark.proves("error-handling#logging-failures")
def test_lines_of_a_failure(shop: MakeShop, redis: Redis) -> None:
    """Celery logs a failure once with its traceback; logger.exception and raise log it twice; an error in `throws` is
    one INFO line. extra={"args": …} fails a task with a KeyError and costs a receiver its line; with a prefix both are
    written. argsrepr replaces the arguments wherever the message shows them."""
    shop = shop("error-handling", redis)
    shop.tasks(
        """
        from celery.signals import task_failure
        from celery.utils.log import get_task_logger
        from payments.gateway import CardDeclined

        logger = get_task_logger(__name__)

        @shared_task
        def once():
            raise ValueError("of once")

        @shared_task
        def watched():
            raise ValueError("of watched")

        @shared_task
        def doubled():
            try:
                raise ValueError("of doubled")
            except ValueError:
                logger.exception("failed")
                raise

        @shared_task(throws=(CardDeclined,))
        def declined():
            raise CardDeclined("of declined")

        @shared_task
        def extra(key):
            logger.info("written with %s", key, extra={key: [1]})

        @shared_task(bind=True)
        def shows(self, email):
            note("shows", argsrepr=self.request.argsrepr, email=email)

        @task_failure.connect(sender=watched)
        def reserved(args, **rest):
            logger.error("line of reserved", extra={"args": args})

        @task_failure.connect(sender=watched)
        def prefixed(args, **rest):
            logger.error("line of prefixed", extra={"task_args": args})
        """
    )
    worker = shop.worker("-c", "1")
    ids = shop.do(
        """
        from proofs.tasks import declined, doubled, extra, once, shows, watched
        sent = [task.delay() for task in (once, watched, doubled, declined)]
        sent += [extra.delay(key) for key in ("args", "name", "module", "process", "task_args")]
        shows.delay("ann@shop")
        sent.append(shows.apply_async(["ann@shop"], argsrepr="('…',)"))
        result = [each.id for each in sent]
        """
    )
    states = f"[app.AsyncResult(id).state for id in {ids}]"
    until(lambda: shop.ask(states) == ["FAILURE"] * 8 + ["SUCCESS"] * 2, what=f"all ended {worker.output}")
    until(lambda: worker.output.count("shows[") >= 4, what="the last line is written")
    lines = worker.output.splitlines()
    assert lines.count("ValueError: of once") == 1
    assert lines.count("ValueError: of doubled") == 2
    assert not any("CardDeclined: of declined" in line for line in lines)
    assert [line.split()[2] for line in lines if "raised expected: CardDeclined" in line] == ["INFO/ForkPoolWorker-1]"]
    for key in ("args", "name", "module", "process"):
        assert f"KeyError: \"Attempt to overwrite '{key}' in LogRecord\"" in lines
        assert f"written with {key}" not in worker.output
    assert "written with task_args" in worker.output
    assert "line of prefixed" in worker.output and "line of reserved" not in worker.output.replace('"line of', "")
    plain, hidden = shop.ledger("shows")
    assert plain["email"] == hidden["email"] == "ann@shop"
    assert "ann@shop" in plain["argsrepr"] and "ann@shop" not in hidden["argsrepr"]
