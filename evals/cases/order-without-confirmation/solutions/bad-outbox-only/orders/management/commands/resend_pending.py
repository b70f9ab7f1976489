from celery import current_app
from django.core.management.base import BaseCommand
from django.db import transaction

from orders.models import Outbox


class Command(BaseCommand):
    help = "Publishes what waits in the outbox."

    def handle(self, *args, **options):
        with transaction.atomic():
            for row in Outbox.objects.select_for_update(skip_locked=True).order_by("created_at"):
                current_app.send_task(row.task, args=row.args)
                row.delete()
