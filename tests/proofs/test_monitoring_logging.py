"""monitoring-observability: which lines a worker writes, and whose task they name."""

from __future__ import annotations

import json

import pytest
from servers import Redis
from shop import NOTICED_SOON, MakeShop, Worker
from waiting import until

TASKS = """
    import logging, os, signal
    from celery.signals import setup_logging, task_failure
    from celery.utils.log import get_task_logger
    from shop.celery import use_django_logging

    if "OWN" in os.environ:  # Celery's own way of setting logging up
        setup_logging.disconnect(use_django_logging)

    def writes():
        logging.getLogger("orders").info("line of a module")
        get_task_logger("orders").info("line of a task logger")
        print("line of print")
        raise ValueError("the task's error")

    for queue in ("page", "hijacked", "formatter"):
        shared_task(name="proofs." + queue)(writes)

    @shared_task(name="proofs.killed")
    def killed(): os.kill(os.getpid(), signal.SIGKILL)

    @task_failure.connect
    def failed(sender, task_id, exception, **kwargs):
        if sender.name == "proofs.killed":
            logging.getLogger("orders").error("lost %s %s", sender.name, task_id)
        note(sender.name)
"""
CONSOLE = {"class": "logging.StreamHandler"}
# Two common ways to share logging with Django.
HIJACKED = {
    "LOGGING": {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": CONSOLE},
        "loggers": {"celery": {"handlers": ["console"], "level": "INFO", "propagate": False}},
    }
}
FORMATTER = {
    "CELERY_WORKER_HIJACK_ROOT_LOGGER": False,
    "LOGGING": {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"task": {"()": "celery.app.log.TaskFormatter", "fmt": "%(task_name)s[%(task_id)s] %(message)s"}},
        "handlers": {"console": CONSOLE | {"formatter": "task"}},
        "root": {"handlers": ["console"], "level": "INFO"},
    },
}


@pytest.mark.proves("monitoring-observability#logging")
def test_lines_of_a_worker(shop: MakeShop, redis: Redis) -> None:
    """With the page's LOGGING worker, Beat and web write JSON, each line of a task with its id and name, Celery's
    received and failed lines too; -l and -f change nothing; print stays raw; a WorkerLostError names no task until
    task_failure does. With the default hijack and a `celery` logger that does not propagate, received and failed lines
    vanish with the traceback; with the hijack off and TaskFormatter, received lines say ???[???]."""
    shop = shop("monitoring-observability", redis)
    shop.tasks(NOTICED_SOON, TASKS)
    file = shop.folder / "log-file"
    own = [
        shop.worker("-c", "1", "-Q", name, wait=False, OWN="1", SHOP_SETTINGS=json.dumps(settings))
        for name, settings in (("hijacked", HIJACKED), ("formatter", FORMATTER))
    ]
    page = shop.worker("-c", "1", "-Q", "page", "-l", "CRITICAL", "-f", str(file))
    beat = shop.beat()
    ids = shop.do(
        """
        import logging
        logging.getLogger("orders").warning("line of the web")
        queues = ("page", "hijacked", "formatter")
        result = {queue: app.send_task("proofs." + queue, queue=queue).id for queue in queues}
        """
    )
    until(lambda: shop.counts() == {f"proofs.{name}": 1 for name in ids}, 60, "all have failed")
    killed = shop.do("result = app.send_task('proofs.killed', queue='page').id")
    until(lambda: f"lost proofs.killed {killed}" in page.output, what="the receiver has written")

    lines = records(page)
    of_task = [line["message"] for line in lines if line["task_id"] == ids["page"]]
    assert [line["task_name"] for line in lines if line["task_id"] == ids["page"]] == ["proofs.page"] * len(of_task)
    received, module, logger, failed = of_task
    assert received.endswith("received") and failed.endswith('ValueError("the task\'s error")')
    assert [module, logger] == ["line of a module", "line of a task logger"]
    assert any('raise ValueError("the task\'s error")' in line.get("exception", "") for line in lines)
    assert "line of print" in page.output.splitlines()
    assert not file.exists()
    lost = next(line for line in lines if "WorkerLostError" in line["message"])
    assert (lost["task_id"], lost["task_name"]) == (None, None)
    assert any(line["message"] == "beat: Starting..." for line in records(beat))
    assert '"message": "line of the web"' in (shop.folder / "driver.log").read_text()

    hijacked, formatter = (worker.output for worker in own)
    assert "received" not in hijacked and "the task's error" not in hijacked and "ready." not in hijacked
    assert f"???[???] Task proofs.formatter[{ids['formatter']}] received" in formatter
    assert "proofs.formatter[" + ids["formatter"] + "] line of a module" in formatter
    assert f"proofs.formatter[{ids['formatter']}]: line of a task logger" in formatter  # Celery's own format


def records(process: Worker) -> list[dict]:
    """The lines that are JSON."""
    return [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
