import logging

from celery import shared_task
from django.core.mail import send_mail
from django.utils import timezone

from accounts.models import User

logger = logging.getLogger(__name__)


@shared_task(name="accounts.send_welcome", ignore_result=True)
def send_welcome(user_pk):
    user = User.objects.filter(pk=user_pk).first()
    if user is None:
        logger.warning("User %s does not exist, no welcome mail", user_pk)
        return
    send_mail("Welcome to the shop", f"Hello {user.first_name}!", None, [user.email])
    user.welcome_sent_at = timezone.now()
    user.save(update_fields=["welcome_sent_at"])
