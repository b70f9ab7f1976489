from celery import shared_task
from celery.signals import task_failure
from django.db import close_old_connections

from imports import reader
from imports.models import Contact, CsvImport


@shared_task(
    name="imports.load_upload",
    acks_late=True,
    retry_on_worker_lost=True,
    max_retries=2,
    default_retry_delay=60,
)
def load_upload(upload_pk):
    upload = CsvImport.objects.get(pk=upload_pk)
    upload.status = CsvImport.Status.RUNNING
    upload.save(update_fields=["status"])
    for row in reader.read(upload.file.path):
        Contact.objects.update_or_create(email=row["email"], defaults={"name": row["name"]})
    upload.status = CsvImport.Status.DONE
    upload.save(update_fields=["status"])


@task_failure.connect
def record_failure(sender, exception, args, **extra):
    if sender.name == load_upload.name:
        close_old_connections()  # of a dead child it is the worker's main process that tells
        CsvImport.objects.filter(pk=args[0]).update(status=CsvImport.Status.FAILED, error=repr(exception))
