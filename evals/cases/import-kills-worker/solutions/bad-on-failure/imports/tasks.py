from celery import shared_task
from celery.contrib.django.task import DjangoTask

from imports import reader
from imports.models import Contact, CsvImport


class UploadTask(DjangoTask):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        CsvImport.objects.filter(pk=args[0]).update(status=CsvImport.Status.FAILED, error=repr(exc))


@shared_task(
    name="imports.load_upload",
    base=UploadTask,
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
