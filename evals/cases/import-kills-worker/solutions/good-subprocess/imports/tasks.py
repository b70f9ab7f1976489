import json
import subprocess
import sys

from celery import shared_task

from imports import reader
from imports.models import Contact, CsvImport

READ = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['read'](sys.argv[2])))"


def read_apart(path):
    """Read a file in a process of its own, so that a crash of the reader ends nothing else."""
    command = [sys.executable, "-c", READ, reader.__file__, path]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)


@shared_task(name="imports.load_upload", acks_late=True)
def load_upload(upload_pk):
    upload = CsvImport.objects.get(pk=upload_pk)
    upload.status = CsvImport.Status.RUNNING
    upload.save(update_fields=["status"])
    try:
        rows = read_apart(upload.file.path)
    except (subprocess.SubprocessError, ValueError) as error:
        upload.status, upload.error = CsvImport.Status.FAILED, f"cannot be read: {error}"
        upload.save(update_fields=["status", "error"])
        return
    for row in rows:
        Contact.objects.update_or_create(email=row["email"], defaults={"name": row["name"]})
    upload.status = CsvImport.Status.DONE
    upload.save(update_fields=["status"])
