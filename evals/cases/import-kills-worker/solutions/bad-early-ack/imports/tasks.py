from celery import shared_task
from celery.signals import task_failure

from imports import reader
from imports.models import Contact, CsvImport


@shared_task(name="imports.load_upload")
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
        CsvImport.objects.filter(pk=args[0]).update(status=CsvImport.Status.FAILED, error=repr(exception))
