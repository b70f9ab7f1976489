from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from orders.tasks import send_reminder

NEW_YORK = ZoneInfo("America/New_York")
FIVE_PM = time(17, tzinfo=NEW_YORK)


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    return send_reminder.apply_async((order_pk,), eta=datetime.combine(day, FIVE_PM)).id
