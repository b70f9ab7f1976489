from accounts.models import User
from accounts.tasks import send_welcome


def register(email, name):
    user = User.objects.create_user(email, email, first_name=name)
    send_welcome.delay(user.pk)
    return user
