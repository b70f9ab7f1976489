from datetime import date, datetime, time

from orders.tasks import send_reminder


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    # Celery's timezone is New York, so 17:00 is local there.
    return send_reminder.apply_async((order_pk,), eta=datetime.combine(day, time(17))).id
