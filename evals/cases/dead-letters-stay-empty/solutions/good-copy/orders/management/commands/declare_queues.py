from django.core.management.base import BaseCommand
from kombu import Exchange, Queue

from shop.celery import app
from shop.queues import ORDERS

# No worker consumes it, so it is none of task_queues.
DEAD = Queue("dead", Exchange("dead", type="direct"), routing_key="orders", queue_arguments={"x-queue-type": "quorum"})


class Command(BaseCommand):
    help = "Declare our queues in RabbitMQ; each deploy runs it before the workers start."

    def handle(self, *args, **options):
        with app.connection_for_write() as connection:
            for queue in (DEAD, ORDERS):
                queue.bind(connection.default_channel).declare()
