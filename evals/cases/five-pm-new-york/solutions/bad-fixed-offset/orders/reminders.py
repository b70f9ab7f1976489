from datetime import date, datetime, time, timedelta, timezone

from orders.tasks import send_reminder

EASTERN = timezone(timedelta(hours=-5), "EST")


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    return send_reminder.apply_async((order_pk,), eta=datetime.combine(day, time(17), tzinfo=EASTERN)).id
