from celery import shared_task
from django.core.mail import send_mail
from django.utils import timezone

from accounts.models import User


@shared_task(name="accounts.send_welcome", ignore_result=True)
def send_welcome(user_pk):
    user = User.objects.get(pk=user_pk)
    send_mail("Welcome to the shop", f"Hello {user.first_name}!", None, [user.email])
    user.welcome_sent_at = timezone.now()
    user.save(update_fields=["welcome_sent_at"])
