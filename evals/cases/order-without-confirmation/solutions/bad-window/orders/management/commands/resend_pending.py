from datetime import timedelta

from django.core.management.base import BaseCommand
from django.utils import timezone

from orders.models import Order
from orders.tasks import send_confirmation


class Command(BaseCommand):
    help = "Queues the confirmation of every order of the last 24 hours that has none."

    def handle(self, *args, **options):
        cutoff = timezone.now() - timedelta(hours=24)
        pending = Order.objects.filter(confirmation_sent_at=None, created_at__gt=cutoff)
        for pk in pending.order_by("pk").values_list("pk", flat=True):
            send_confirmation.delay(pk)
