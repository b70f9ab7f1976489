from datetime import date, datetime, time

from django.utils import timezone

from orders.tasks import send_reminder


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    return send_reminder.apply_async((order_pk,), eta=timezone.make_aware(datetime.combine(day, time(17)))).id
