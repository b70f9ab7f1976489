from celery import shared_task
from django.db.models import F

from imports import reader
from imports.models import Contact, CsvImport

MAX_ATTEMPTS = 3


@shared_task(name="imports.load_upload", acks_late=True, reject_on_worker_lost=True)
def load_upload(upload_pk):
    uploads = CsvImport.objects.filter(pk=upload_pk)
    open_ = uploads.exclude(status__in=[CsvImport.Status.DONE, CsvImport.Status.FAILED])
    # Counted and committed before the work: a dead process cannot count any more.
    if not open_.filter(attempts__lt=MAX_ATTEMPTS).update(attempts=F("attempts") + 1, status=CsvImport.Status.RUNNING):
        open_.update(status=CsvImport.Status.FAILED, error=f"killed its worker {MAX_ATTEMPTS} times")
        return
    for row in reader.read(uploads.get().file.path):
        Contact.objects.update_or_create(email=row["email"], defaults={"name": row["name"]})
    uploads.update(status=CsvImport.Status.DONE)
