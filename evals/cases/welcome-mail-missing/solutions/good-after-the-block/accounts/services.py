from django.db import transaction
from django.db.models import F

from accounts.models import User
from accounts.tasks import send_welcome


class UnknownFriend(Exception):
    pass


def register(email, name, friend=None):
    with transaction.atomic(durable=True):
        user = User.objects.create_user(email, email, first_name=name)
        if friend and not User.objects.filter(email=friend).update(points=F("points") + 5):
            raise UnknownFriend(friend)
    send_welcome.delay(user.pk)
    return user
