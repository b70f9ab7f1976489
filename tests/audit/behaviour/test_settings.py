"""What the installed Celery, kombu and Django make of mistaken settings."""

from __future__ import annotations

import os
import pickle
import ssl
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from celery import Celery
from celery.app.defaults import _TO_NEW_KEY, DEFAULTS
from celery.backends.redis import RedisBackend
from kombu import Connection
from kombu.exceptions import ContentDisallowed
from kombu.serialization import dumps, loads, prepare_accept_content

CALLED = []


def conf(namespace: str | None = "CELERY", **settings: object) -> object:
    app = Celery("shop", set_as_current=False)
    app.config_from_object(type("Settings", (), settings), namespace=namespace)
    return app.conf


def run(code: str, folder: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "DJANGO"))}
    command = [sys.executable, "-W", "ignore", "-c", dedent(code)]
    done = subprocess.run(command, cwd=folder, env={**clean, **environment}, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.proves("DCE701")
def test_unknown_names_are_dropped() -> None:
    assert conf(CELERY_TASK_ACK_LATE=True).task_acks_late is False
    assert conf(CELERY_SOFT_TIME_LIMIT=60).task_soft_time_limit is None
    assert conf(CELERY_TASK_ACKS_LATE=True).task_acks_late is True


@pytest.mark.proves("DCE702")
def test_old_names_wake_with_5_7() -> None:
    value = object()
    obeyed = [old for old, new in _TO_NEW_KEY.items() if conf(**{old: value}).get(new) is value]
    assert {"CELERYD_CONCURRENCY", "CELERY_ACKS_LATE", "BROKER_URL", "CELERYBEAT_SCHEDULE"} <= set(obeyed)
    assert conf(CELERYD_CONCURRENCY=4, CELERY_WORKER_CONCURRENCY=2).worker_concurrency == 2


@pytest.mark.proves("DCE703")
def test_namespace_decides() -> None:
    assert conf("CELERY", TASK_ACKS_LATE=True).task_acks_late is False
    assert conf(None, CELERY_TASK_ACKS_LATE=True).task_acks_late is False
    assert conf(None, CELERY_BROKER_URL="redis://b").get("broker_url") is None
    assert conf("QUEUE", CELERY_WORKER_CONCURRENCY=2).worker_concurrency is None
    assert conf("CELERY", CELERY_TASK_ACKS_LATE=True).task_acks_late is True
    app = Celery("shop", set_as_current=False)
    app.conf.update(CELERY_TASK_ACKS_LATE=True)
    assert app.conf.task_acks_late is False


@pytest.fixture(autouse=True)
def _answering_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.Redis.ping", lambda _: True)  # a channel pings when it is made


def visibility(**settings: object) -> float:
    """What the channel of a worker's Redis connection takes for its visibility timeout."""
    app = Celery("shop", broker="redis://broker", set_as_current=False)
    app.conf.update(settings)
    return channel_of(app.connection_for_read()).visibility_timeout


def channel_of(connection: Connection) -> object:
    """A channel of kombu's own, made without a server."""
    return connection.transport.Channel(connection.transport)


@pytest.mark.proves("DCE704")
def test_unknown_transport_options_are_dropped() -> None:
    assert visibility(broker_transport_options={"visiblity_timeout": 7200}) == 3600
    assert visibility(broker_transport_options={"visibility_timeout": 7200}) == 7200


@pytest.mark.proves("DCE705")
def test_only_broker_transport_options_count() -> None:
    assert visibility(visibility_timeout=7200) == 3600
    assert visibility(result_backend_transport_options={"visibility_timeout": 7200}) == 3600
    assert visibility(broker_transport_options={"visibility_timeout": 7200}) == 7200


class Exploit:
    def __reduce__(self) -> tuple:
        return mark, ()


def mark() -> None:
    CALLED.append("run")


@pytest.mark.proves("DCE706")
def test_accepted_pickle_runs_code() -> None:
    CALLED.clear()
    body = pickle.dumps(Exploit())
    with pytest.raises(ContentDisallowed):
        loads(body, "application/x-python-serialize", "binary", accept=["application/json"])
    assert not CALLED
    loads(body, "application/x-python-serialize", "binary", accept=["application/x-python-serialize"])
    assert CALLED == ["run"]


@pytest.mark.proves("DCE707")
def test_a_serializer_that_is_not_accepted() -> None:
    content_type, encoding, body = dumps([1], serializer="pickle")
    accepted = prepare_accept_content(DEFAULTS["accept_content"])
    with pytest.raises(ContentDisallowed):
        loads(body, content_type, encoding, accept=accepted)
    assert loads(body, content_type, encoding, accept=prepare_accept_content(["json", "pickle"])) == [1]


@pytest.mark.proves("DCE708")
def test_eager_runs_in_the_caller() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    ran = []

    @app.task(name="shop.note", shared=False)
    def note() -> None:
        ran.append(os.getpid())

    note.delay()
    assert not ran
    app.conf.task_always_eager = True
    note.delay()
    assert ran == [os.getpid()]


@pytest.mark.proves("DCE709")
@pytest.mark.parametrize("package", ["django_celery_results", "django_celery_beat"])
def test_models_need_their_app(package: str, tmp_path: Path) -> None:
    code = f"""
        import django
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["django.contrib.contenttypes"] + {{}})
        django.setup()
        try:
            import {package}.models
            print("ok")
        except RuntimeError as error:
            print("INSTALLED_APPS" in str(error))
    """
    assert run(code.replace("{}", "[]"), tmp_path) == "True"
    assert run(code.replace("{}", f"['{package}']"), tmp_path) == "ok"


@pytest.mark.proves("DCE710")
def test_clear_flushes_the_database(tmp_path: Path) -> None:
    code = """
        from django.core.cache.backends.redis import RedisCacheClient
        class Client(RedisCacheClient):
            def get_client(self, *args, **kwargs):
                return self
            def flushdb(self):
                print("FLUSHDB")
        Client(["redis://redis"]).clear()
    """
    assert run(code, tmp_path) == "FLUSHDB"


def checks(url: str, **options: object) -> object:
    """How the sockets of a broker connection check certificates."""
    pool = channel_of(Connection(url, **options)).pool
    return pool.make_connection().cert_reqs


@pytest.mark.proves("DCE713")
def test_what_checks_no_certificate() -> None:
    assert checks("rediss://broker:6379/0") == ssl.CERT_NONE
    assert checks("rediss://broker:6379/0", ssl={"ssl_cert_reqs": ssl.CERT_NONE}) == ssl.CERT_NONE
    assert checks("rediss://broker:6379/0", ssl={"ssl_cert_reqs": ssl.CERT_REQUIRED}) == ssl.CERT_REQUIRED


@pytest.mark.proves("DCE714")
def test_rediss_results_say_how_they_check() -> None:
    app = Celery("shop", set_as_current=False)
    with pytest.raises(ValueError, match="ssl_cert_reqs"):
        RedisBackend(app=app, url="rediss://results:6379/0")
    assert RedisBackend(app=app, url="rediss://results:6379/0?ssl_cert_reqs=required")


@pytest.mark.proves("DCE715")
@pytest.mark.proves("DCE716")
@pytest.mark.parametrize("name", ["acks_late", "reject_on_worker_lost"])
def test_every_task_inherits(name: str) -> None:
    app = Celery("shop", set_as_current=False)
    app.conf[f"task_{name}"] = True
    plain, own = app.task(mark, name="plain", shared=False), app.task(mark, name="own", shared=False, **{name: False})
    assert (getattr(app.tasks[plain.name], name), getattr(app.tasks[own.name], name)) == (True, False)


@pytest.mark.proves("DCE717")
def test_the_app_wins_over_settings_since_5_7() -> None:
    app = Celery("shop", broker="redis://app", set_as_current=False)
    app.conf.task_acks_late = True
    settings = {"CELERY_BROKER_URL": "redis://settings", "CELERY_TASK_ACKS_LATE": False}
    app.config_from_object(type("Settings", (), settings), namespace="CELERY")
    assert (app.conf.get("broker_url"), app.conf.task_acks_late) == ("redis://app", True)


@pytest.mark.proves("DCE718")
def test_the_fixup_needs_the_variable_before_the_app(tmp_path: Path) -> None:
    (tmp_path / "shop_settings.py").write_text("INSTALLED_APPS = []\n")
    code = """
        import os
        from celery import Celery
        FIRST
        app = Celery("shop", broker="memory://")
        os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"
        print(hasattr(app.Task, "delay_on_commit"))
    """
    before = 'os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"'
    assert run(code.replace("FIRST", ""), tmp_path) == "False"
    assert run(code.replace("FIRST", before), tmp_path) == "True"


@pytest.mark.proves("DCE719")
def test_shared_tasks_need_the_app_imported(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "settings.py").write_text('CELERY_BROKER_URL = "redis://broker"\n')
    (shop / "celery.py").write_text(
        'from celery import Celery\n\napp = Celery("shop")\n'
        'app.config_from_object("django.conf:settings", namespace="CELERY")\n'
    )
    (tmp_path / "orders.py").write_text("from celery import shared_task\n\n@shared_task\ndef send(): ...\n")
    code = """
        import django
        django.setup()
        import orders
        print(orders.send.app.conf.broker_url)
    """
    (shop / "__init__.py").write_text("")
    assert run(code, tmp_path, DJANGO_SETTINGS_MODULE="shop.settings") == "None"
    (shop / "__init__.py").write_text("from .celery import app as celery_app\n")
    assert run(code, tmp_path, DJANGO_SETTINGS_MODULE="shop.settings") == "redis://broker"


@pytest.mark.proves("DCE720")
def test_another_process_sees_no_memory_queue(tmp_path: Path) -> None:
    code = """
        from kombu import Connection
        queue = Connection("memory://").SimpleQueue("mail")
        PUT
        print(queue.qsize())
    """
    assert run(code.replace("PUT", "queue.put(1)"), tmp_path) == "1"
    assert run(code.replace("PUT", ""), tmp_path) == "0"
