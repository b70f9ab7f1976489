from accounts.models import User
from accounts.tasks import send_welcome


def register(email, name):
    user = User.objects.create_user(email, email, first_name=name)
    send_welcome.apply_async((user.pk,), countdown=2)  # let the transaction finish
    return user
