from celery import shared_task

from imports import reader
from imports.models import Contact, CsvImport


@shared_task(name="imports.load_upload", acks_late=True, reject_on_worker_lost=True)
def load_upload(upload_pk):
    upload = CsvImport.objects.get(pk=upload_pk)
    upload.status = CsvImport.Status.RUNNING
    upload.save(update_fields=["status"])
    for row in reader.read(upload.file.path):
        Contact.objects.update_or_create(email=row["email"], defaults={"name": row["name"]})
    upload.status = CsvImport.Status.DONE
    upload.save(update_fields=["status"])
