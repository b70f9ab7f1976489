from django.core.files.base import ContentFile
from django.db import transaction

from imports.models import CsvImport
from imports.tasks import load_upload


def receive(name: str, content: bytes) -> CsvImport:
    """Keep a file that somebody uploaded, and load it in the background."""
    upload = CsvImport.objects.create(file=ContentFile(content, name))
    transaction.on_commit(lambda: load_upload.delay(upload.pk))
    return upload
