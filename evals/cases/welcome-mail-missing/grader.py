"""Whether a new customer gets one welcome mail, also when the commit is slow, and nobody gets one after a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from evals.trial import PATIENCE, Trial, Verdict
from waiting import Late, until

HEARD = """
from celery.signals import after_task_publish
from django.core.mail.backends.base import BaseEmailBackend

@after_task_publish.connect
def heard(**_): note("published")

class Mail(BaseEmailBackend):
    def send_messages(self, messages):
        for message in messages:
            note("mail", to=message.to)
        return len(messages)
"""
WEB = """
import os, time
import proofs.tasks
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

def sign_up(email, friend=""):
    answer = Client(raise_request_exception=False).post("/signup/", {"email": email, "name": "Ada", "friend": friend})
    return answer.status_code
"""
# A commit takes until what was published before it has run, 15 s at most.
SLOW_COMMIT = """
commit, ledger = BaseDatabaseWrapper._commit, os.environ["SHOP_LEDGER"]

def events(name): return open(ledger).read().count('"event": "%s"' % name)

def slow_commit(self):
    deadline, ended = time.monotonic() + 15, events("ended")
    while events("published") > published and events("ended") == ended and time.monotonic() < deadline:
        time.sleep(0.02)
    return commit(self)

published = events("published")
BaseDatabaseWrapper._commit = slow_commit
"""


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "postgres", HEARD, EMAIL_BACKEND="proofs.tasks.Mail")
    shop.do("User.objects.create_user('grace', 'grace@shop.test')")
    shop.do(WEB)

    def mails(email: str) -> int:
        return sum(line["to"] == [email] for line in shop.ledger("mail"))

    def settled() -> bool:
        return shop.counts()["ended"] >= shop.counts()["published"]

    def settle() -> None:
        with suppress(Late):  # what is missing then is missing in the verdict
            until(settled, PATIENCE)

    # No worker runs yet, so the first sign-up is committed before its message is read.
    status = shop.ask("sign_up('ada@shop.test', friend='grace@shop.test')")
    before = shop.counts()["published"]
    undone = shop.ask("sign_up('joan@shop.test', friend='nobody@shop.test')")
    phantoms = shop.counts()["published"] - before
    left = shop.ask("User.objects.filter(email='joan@shop.test').count()")

    shop.worker("-c", "1")
    settle()
    users, sent = shop.ask("User.objects.filter(email='ada@shop.test').count()"), mails("ada@shop.test")
    evidence = f"status {status}, {users} users, {sent} mails"
    yield Verdict("signs-up", (status, users, sent) == (201, 1, 1), evidence)
    evidence = f"status {undone}, {left} users left, {phantoms} messages published"
    yield Verdict("rolled-back", (undone, left, phantoms) == (404, 0, 0), evidence)

    shop.do(SLOW_COMMIT)
    status = shop.ask("sign_up('edsger@shop.test', friend='grace@shop.test')")
    settle()
    sent = mails("edsger@shop.test")
    yield Verdict("slow-commit", (status, sent) == (201, 1), f"status {status}, {sent} mails")

    states = [line["state"] for line in shop.ledger("ended")]
    evidence = f"{shop.counts()['published']} messages, runs ended {', '.join(states) or 'never'}"
    yield Verdict("no-errors", settled() and set(states) == {"SUCCESS"}, evidence)
