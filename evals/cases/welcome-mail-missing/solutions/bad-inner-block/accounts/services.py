from django.db import transaction

from accounts.models import User
from accounts.tasks import send_welcome


def register(email, name):
    with transaction.atomic():
        user = User.objects.create_user(email, email, first_name=name)
    # The user is committed now, so the task can see it.
    send_welcome.delay(user.pk)
    return user
