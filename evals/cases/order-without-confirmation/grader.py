"""Whether orders get their confirmation, once, though Redis was down when they were placed: by resend_pending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from evals.trial import PATIENCE, Trial, Verdict
from waiting import Late, until

# A mail takes until a second one to the same person is on its way, or no message waits for a process; 4 s at most.
HEARD = """
import os, time
from celery.signals import after_task_publish
from django.core.mail.backends.base import BaseEmailBackend

@after_task_publish.connect
def heard(**_): note("published")

def is_last(to):
    count = open(os.environ["SHOP_LEDGER"]).read().count
    return count(to) > 1 or count('"began"') >= count('"published"')

class Mail(BaseEmailBackend):
    def send_messages(self, messages):
        for message in messages:
            note("mail", to=message.to[0])
            deadline = time.monotonic() + 4
            while not is_last(message.to[0]) and time.monotonic() < deadline:
                time.sleep(0.02)
        return len(messages)
"""
SITE = """
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
import proofs.tasks
from django.apps import apps
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection, models
from django.db.models import F
from django.test import Client

customers = {name: User.objects.create(username=name, email=name + "@shop.test") for name in ("ada", "grace", "joan")}

def post(name):
    order = {"customer": customers[name].pk, "total": "9"}
    return Client(raise_request_exception=False).post("/orders/", order).status_code

def resend(_=None):
    try:
        call_command("resend_pending")
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()

def three_days_pass():
    cache.clear()
    for model in apps.get_models():
        times = [field.name for field in model._meta.local_concrete_fields if isinstance(field, models.DateTimeField)]
        model.objects.update(**{name: F(name) - timedelta(days=3) for name in times})
"""


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "postgres", HEARD, EMAIL_BACKEND="proofs.tasks.Mail", CELERY_RESULT_BACKEND="django-db")
    shop.do(SITE)

    def settle() -> None:
        with suppress(Late):  # what is missing then is missing in the verdict
            until(lambda: shop.counts()["ended"] >= shop.counts()["published"], PATIENCE)

    shop.do("Order.objects.create(customer=customers['ada'], total=10)")  # as the code of last night left it
    broker = trial.servers.redis
    broker.kill()
    try:
        status, saved = shop.ask("post('grace')"), shop.ask("Order.objects.filter(customer__username='grace').count()")
        shop.do("resend()")  # cron knows of no outage
    finally:
        broker.start()
    shop.do("three_days_pass()")
    answers = shop.ask("[post('joan'), *ThreadPoolExecutor(3).map(resend, range(3)), resend()]")
    shop.worker("-c", "6")
    settle()
    answers.append(shop.ask("resend()"))
    settle()

    mails = Counter(line["to"].partition("@")[0] for line in shop.ledger("mail"))
    yield Verdict("ordinary", mails["joan"] > 0 and answers == [201] + [None] * 5, f"{mails['joan']} mails; {answers}")
    yield Verdict("broker-down", (status, saved) == (201, 1), f"status {status}, {saved} orders saved")
    yield Verdict("recovers", mails["grace"] > 0, f"{mails['grace']} mails for the order placed while Redis was down")
    yield Verdict("last-night", mails["ada"] > 0, f"{mails['ada']} mails for the order that hung already")
    yield Verdict(
        "once", max(mails.values(), default=0) < 2, f"mails: {dict(mails)}; {shop.counts()['published']} messages"
    )
