import redis
from celery import shared_task
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from crm.client import fetch_page

client = redis.Redis.from_url(settings.CELERY_BROKER_URL)


@shared_task(name="orders.nightly_report")
def nightly_report():
    if not client.set("nightly-report-lock", "1", nx=True, ex=6 * 60 * 60):
        return
    try:
        write_report()
    finally:
        client.delete("nightly-report-lock")


def write_report():
    rows, cursor = fetch_page()
    while cursor is not None:
        page, cursor = fetch_page(cursor)
        rows += page
    default_storage.save(f"reports/{timezone.localdate()}.csv", ContentFile("\n".join(map(str, rows))))
