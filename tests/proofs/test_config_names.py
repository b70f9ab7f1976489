"""configuration-guide: which names are read, from where, and which check says so. No server is needed."""

from __future__ import annotations

import json

import pytest
from servers import Redis
from shop import MakeShop, Shop

PAGE = "configuration-guide"


def configure(shop: Shop, **settings: object) -> None:
    """Set what the project's processes read from now on; the shop's own `migrate` would fail on some of it."""
    shop.environment["SHOP_SETTINGS"] = json.dumps(settings)


def check(shop: Shop, command: str = "check", **options: object) -> str:
    """What ``manage.py check``, or another command that checks, says against the project."""
    return shop.do(
        f"""
        from django.core.management import call_command
        from django.core.management.base import SystemCheckError
        result = ""
        try:
            call_command({command!r}, **{options})
        except SystemCheckError as error:
            result = str(error)
        """
    )


@pytest.mark.proves("configuration-guide#project-layout")
def test_misspelt_setting(shop: MakeShop) -> None:
    """A misspelt setting is ignored without a word and a worker starts with it; the page's check passes the page's own
    settings, and fails `manage.py check` and `migrate` on the misspelt one."""
    page, misspelt = shop(PAGE), shop(PAGE)
    assert check(page) == ""
    configure(misspelt, CELERY_TASK_ACK_LATE=True)
    error = "(shop.E001) CELERY_TASK_ACK_LATE is not a current Celery setting"
    assert error in check(misspelt)
    assert error in check(misspelt, "migrate", skip_checks=False)  # as the command line does
    assert misspelt.ask("app.conf.task_acks_late") is False
    worker = misspelt.worker("-P", "solo")
    assert "ACK_LATE" not in worker.output


@pytest.mark.proves("configuration-guide#project-layout")
def test_misspelt_transport_option(shop: MakeShop, redis: Redis) -> None:
    """A misspelt transport option is ignored, by the page's check too: the visibility timeout stays at an hour."""
    shop = shop(PAGE, redis)
    channel = "app.connection_for_read(transport_options={!r}).default_channel.visibility_timeout"
    assert shop.ask(channel.format({"visibility_timeout": 7})) == 7
    configure(shop, CELERY_BROKER_TRANSPORT_OPTIONS={"visiblity_timeout": 7})
    assert check(shop) == ""
    assert shop.ask(channel.format({"visiblity_timeout": 7})) == 3600


@pytest.mark.proves("configuration-guide#project-layout")
def test_fixup_needs_the_variable_first(shop: MakeShop) -> None:
    """DJANGO_SETTINGS_MODULE set after `Celery()` leaves the app without Django's fixup and its tasks without
    delay_on_commit; set before, as the page has it, both are there."""
    shop = shop(PAGE)
    code = """
    import os
    from celery import Celery
    if {before}: os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    else: del os.environ["DJANGO_SETTINGS_MODULE"]
    other = Celery("other", set_as_current=False)
    os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    other.config_from_object("django.conf:settings", namespace="CELERY")
    result = [any(other._fixups), hasattr(other.Task, "delay_on_commit")]
    """
    assert shop.do(code.format(before=True)) == [True, True]
    assert shop.do(code.format(before=False)) == [False, False]


@pytest.mark.proves("configuration-guide#environments")
def test_environment_beats_settings(shop: MakeShop, redis: Redis) -> None:
    """With CELERY_BROKER_URL in the environment a test run under the ordinary settings publishes to that broker,
    whatever the settings say; under the page's settings_test nothing gets there. `app.conf["broker_url"]` shows the
    setting that is not in force."""
    shops = {base: shop(PAGE, base=base) for base in ("settings", "settings_test")}
    waiting = redis.client()
    for each in shops.values():
        each.environment |= {"CELERY_BROKER_URL": redis.url(), "CELERY_RESULT_BACKEND": redis.url(1)}
        each.do("app.send_task('any', queue='default')")
    assert waiting.llen("default") == 1
    conf = "[app.conf.broker_url, app.conf['broker_url'], app.conf.result_backend]"
    assert shops["settings"].ask(conf) == [redis.url(), "memory://", redis.url(1)]
    assert shops["settings_test"].ask(conf) == ["memory://", "memory://", "cache+memory://"]


@pytest.mark.proves("configuration-guide#old-setting-names")
def test_old_names_wake_up(shop: MakeShop) -> None:
    """Old and unprefixed names are obeyed, so `CELERY_ALWAYS_EAGER` runs tasks in the caller; the current name wins
    over the old one; the page's check names each. `celery upgrade settings --django` writes current names, without
    `--django` names that Django ignores."""
    shop = shop(PAGE)
    old = {
        "CELERYD_CONCURRENCY": 7,
        "CELERYD_PREFETCH_MULTIPLIER": 9,  # the page's CELERY_WORKER_PREFETCH_MULTIPLIER wins
        "CELERY_ALWAYS_EAGER": True,
        "S3_BUCKET": "forgotten",
    }
    configure(shop, **old)
    conf = "[app.conf.worker_concurrency, app.conf.worker_prefetch_multiplier, app.conf.task_always_eager,"
    assert shop.ask(f"{conf} app.conf.s3_bucket]") == [7, 1, True, "forgotten"]
    failed = check(shop)
    assert [name for name in old if f"{name} is not a current" in failed] == [*old][:3]

    file = shop.folder / "old.py"
    upgraded = {}
    for options in (["--django"], []):
        file.write_text("\n".join(f"{name} = {value!r}" for name, value in old.items()))
        command = ["upgrade", "settings", str(file), "--no-backup", *options]
        shop.do(f"from celery.bin.celery import celery; celery.main({command}, standalone_mode=False)")
        upgraded[bool(options)] = file.read_text()
    assert "CELERY_TASK_ALWAYS_EAGER = True" in upgraded[True]
    assert "task_always_eager = True" in upgraded[False]
