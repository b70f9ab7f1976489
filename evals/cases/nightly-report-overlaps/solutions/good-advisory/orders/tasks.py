from celery import shared_task
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from django.db import connection

from crm.client import fetch_page

LOCK = 7301  # the report's advisory lock; PostgreSQL frees it when the connection of a dead worker is gone


@shared_task(name="orders.nightly_report")
def nightly_report():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return
        try:
            write_report()
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def write_report():
    rows, cursor = fetch_page()
    while cursor is not None:
        page, cursor = fetch_page(cursor)
        rows += page
    default_storage.save(f"reports/{timezone.localdate()}.csv", ContentFile("\n".join(map(str, rows))))
