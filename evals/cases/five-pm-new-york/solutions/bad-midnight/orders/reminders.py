from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from orders.tasks import send_reminder

NEW_YORK = ZoneInfo("America/New_York")


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    midnight = datetime.combine(day, time(0), tzinfo=NEW_YORK).astimezone(UTC)
    return send_reminder.apply_async((order_pk,), eta=midnight + timedelta(hours=17)).id
