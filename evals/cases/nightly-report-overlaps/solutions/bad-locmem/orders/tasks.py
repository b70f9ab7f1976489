from celery import shared_task
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from crm.client import fetch_page

LOCK_EXPIRES = 6 * 60 * 60


@shared_task(name="orders.nightly_report")
def nightly_report():
    # add() is atomic; the timeout frees the lock of a worker that was killed.
    if not cache.add("nightly-report-lock", "locked", LOCK_EXPIRES):
        return
    try:
        write_report()
    finally:
        cache.delete("nightly-report-lock")


def write_report():
    rows, cursor = fetch_page()
    while cursor is not None:
        page, cursor = fetch_page(cursor)
        rows += page
    default_storage.save(f"reports/{timezone.localdate()}.csv", ContentFile("\n".join(map(str, rows))))
