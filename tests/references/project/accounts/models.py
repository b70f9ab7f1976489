from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    welcome_sent_at = models.DateTimeField(null=True, blank=True)
    crm_id = models.CharField(max_length=64, blank=True)
    points = models.PositiveIntegerField(default=0)
