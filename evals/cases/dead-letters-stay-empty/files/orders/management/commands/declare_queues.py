from django.core.management.base import BaseCommand

from shop.celery import app
from shop.queues import ORDERS


class Command(BaseCommand):
    help = "Declare our queues in RabbitMQ; each deploy runs it before the workers start."

    def handle(self, *args, **options):
        with app.connection_for_write() as connection:
            ORDERS.bind(connection.default_channel).declare()
