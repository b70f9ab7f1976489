import threading

import redis
from celery import shared_task
from celery.utils.log import get_task_logger
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from redis.exceptions import LockNotOwnedError

from crm.client import fetch_page

logger = get_task_logger(__name__)
locks = redis.Redis.from_url(settings.CELERY_BROKER_URL, socket_timeout=5)
KEPT = 600  # seconds that a dead worker's lock stays


@shared_task(name="orders.nightly_report")
def nightly_report():
    # Extended while the report is being written, so that a long one keeps it; freed by its owner only.
    lock = locks.lock("lock:nightly-report", timeout=KEPT, thread_local=False)
    if not lock.acquire(blocking=False):
        logger.warning("the report is still being written, this run is skipped")
        return
    done = threading.Event()
    threading.Thread(target=keep, args=(lock, done), daemon=True).start()
    try:
        write_report()
    finally:
        done.set()
        try:
            lock.release()
        except LockNotOwnedError:
            logger.warning("the lock went to another run before this one ended")


def keep(lock, done):
    while not done.wait(KEPT / 4):
        try:
            lock.reacquire()
        except LockNotOwnedError:
            return


def write_report():
    rows, cursor = fetch_page()
    while cursor is not None:
        page, cursor = fetch_page(cursor)
        rows += page
    default_storage.save(f"reports/{timezone.localdate()}.csv", ContentFile("\n".join(map(str, rows))))
