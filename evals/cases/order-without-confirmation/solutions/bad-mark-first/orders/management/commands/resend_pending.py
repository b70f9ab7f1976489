from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from orders.models import Order
from orders.tasks import send_confirmation


class Command(BaseCommand):
    help = "Queues the confirmation of every order that has none, each once."

    def handle(self, *args, **options):
        with transaction.atomic():
            pending = Order.objects.select_for_update(skip_locked=True).filter(confirmation_sent_at=None)
            pks = list(pending.order_by("pk").values_list("pk", flat=True))
            # Mark them, so that the next run does not take them again.
            Order.objects.filter(pk__in=pks).update(confirmation_sent_at=timezone.now())
        for pk in pks:
            send_confirmation.delay(pk)
