from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from orders.tasks import send_reminder


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    five_pm = datetime.combine(day, time(17), tzinfo=ZoneInfo("America/New_York"))
    return send_reminder.apply_async((order_pk,), eta=five_pm.replace(tzinfo=None)).id
