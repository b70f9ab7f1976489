from datetime import timedelta

from django.core.management.base import BaseCommand
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from orders.models import Order
from orders.tasks import send_confirmation

LEASE = timedelta(hours=2)  # more than workers are ever behind


class Command(BaseCommand):
    help = "Queues the confirmations whose message is lost."

    def handle(self, *args, **options):
        now = timezone.now()
        lost = Q(confirmation_queued_at=None) | Q(confirmation_queued_at__lt=now - LEASE)
        with transaction.atomic():
            orders = Order.objects.select_for_update(skip_locked=True).filter(lost, confirmation_sent_at=None)
            pks = list(orders.order_by("pk").values_list("pk", flat=True)[:500])
            Order.objects.filter(pk__in=pks).update(confirmation_queued_at=now)
            for pk in pks:  # the broker is down: the rows are as they were, the next minute tries again
                send_confirmation.delay(pk)
