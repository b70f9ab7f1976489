"""Django with SQLite files and one model, and a Celery app on the memory transport: nothing leaves the process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def django(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Django, configured once. ``worker`` is a second connection to the file of ``default``; ``other`` is another."""
    import django
    from django.conf import settings

    folder = tmp_path_factory.mktemp("databases")
    sqlite = {"ENGINE": "django.db.backends.sqlite3"}
    if not settings.configured:
        settings.configure(
            DATABASES={
                "default": {**sqlite, "NAME": str(folder / "default.sqlite3")},
                "worker": {**sqlite, "NAME": str(folder / "default.sqlite3")},
                "other": {**sqlite, "NAME": str(folder / "other.sqlite3")},
            },
            INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes"],
            SECRET_KEY="for tests",
            USE_TZ=True,
        )
        django.setup()
    from django.db import connections, models

    class Tag(models.Model):
        class Meta:
            app_label = "shop"

    class Order(models.Model):
        name = models.CharField(max_length=20, default="")
        tags = models.ManyToManyField(Tag)

        class Meta:
            app_label = "shop"

    for alias in ("default", "other"):
        with connections[alias].schema_editor() as editor:
            editor.create_model(Tag)
            editor.create_model(Order)
    yield SimpleNamespace(Order=Order, Tag=Tag, connections=connections)
    connections.close_all()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch):
    """A Celery app as a Django project has it, with an empty queue; ``app.queued()`` takes what was published."""
    from celery import Celery
    from celery.contrib.django.task import DjangoTask

    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    app = Celery("shop", broker="memory://", task_cls=DjangoTask, set_as_current=False)
    app.conf.update(result_backend=None, task_ignore_result=True)

    def queued() -> list[tuple[str, list]]:
        """The name and positional arguments of each message in the queue, which is empty afterwards."""
        found = []
        with app.connection_for_read() as connection, connection.channel() as channel:
            app.amqp.queues["celery"](channel).declare()
            while (message := channel.basic_get("celery", no_ack=True)) is not None:
                found.append((message.headers["task"], message.decode()[0]))
        return found

    app.queued = queued
    queued()
    yield app
    app.close()
