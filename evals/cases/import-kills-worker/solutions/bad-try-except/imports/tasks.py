import logging

from celery import shared_task

from imports import reader
from imports.models import Contact, CsvImport

logger = logging.getLogger(__name__)


@shared_task(
    name="imports.load_upload",
    acks_late=True,
    reject_on_worker_lost=True,
    max_retries=3,
    soft_time_limit=240,
    time_limit=300,
)
def load_upload(upload_pk):
    upload = CsvImport.objects.get(pk=upload_pk)
    upload.status = CsvImport.Status.RUNNING
    upload.save(update_fields=["status"])
    try:
        for row in reader.read(upload.file.path):
            Contact.objects.update_or_create(email=row["email"], defaults={"name": row["name"]})
    except Exception as error:
        logger.exception("upload %s cannot be loaded", upload_pk)
        upload.status, upload.error = CsvImport.Status.FAILED, str(error)
        upload.save(update_fields=["status", "error"])
        return
    upload.status = CsvImport.Status.DONE
    upload.save(update_fields=["status"])
