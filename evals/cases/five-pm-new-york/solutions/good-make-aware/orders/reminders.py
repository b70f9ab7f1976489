from datetime import date, datetime, time
from uuid import uuid4
from zoneinfo import ZoneInfo

from django.utils import timezone

from orders.tasks import send_reminder


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    task_id = str(uuid4())
    eta = timezone.make_aware(datetime.combine(day, time(17)), ZoneInfo("America/New_York"))
    send_reminder.apply_async_on_commit((order_pk,), eta=eta, task_id=task_id)
    return task_id
