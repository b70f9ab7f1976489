from datetime import date


def schedule_reminder(order_pk: int, day: date) -> str:
    """Have the customer reminded at 17:00 New York time on that day. Returns the task's id."""
    raise NotImplementedError
