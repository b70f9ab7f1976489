from celery import shared_task
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from crm.client import fetch_page


@shared_task(name="orders.nightly_report")
def nightly_report():
    rows, cursor = fetch_page()
    while cursor is not None:
        page, cursor = fetch_page(cursor)
        rows += page
    default_storage.save(f"reports/{timezone.localdate()}.csv", ContentFile("\n".join(map(str, rows))))
