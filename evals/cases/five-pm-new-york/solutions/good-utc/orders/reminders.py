from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from orders.tasks import send_reminder


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    local = datetime(day.year, day.month, day.day, 17, tzinfo=ZoneInfo("America/New_York"))
    # A difference of instants: both sides in UTC, whatever the clocks do in between.
    seconds = (local.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return send_reminder.apply_async((order_pk,), countdown=max(0, seconds)).id
