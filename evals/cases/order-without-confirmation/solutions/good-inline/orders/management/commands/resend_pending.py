from django.core.management.base import BaseCommand

from orders.models import Order
from orders.tasks import send_confirmation


class Command(BaseCommand):
    help = "Sends the confirmation of every order that has none, without the broker."

    def handle(self, *args, **options):
        pending = Order.objects.filter(confirmation_sent_at=None)
        for pk in pending.order_by("pk").values_list("pk", flat=True):
            send_confirmation(pk)
