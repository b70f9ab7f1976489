from django.db import transaction

from accounts.models import User
from accounts.tasks import send_welcome


def register(email, name):
    user = User.objects.create_user(email, email, first_name=name)
    transaction.on_commit(lambda: send_welcome.delay(user.pk), robust=True)
    return user
