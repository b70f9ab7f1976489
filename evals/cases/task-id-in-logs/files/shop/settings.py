"""Settings of the imaginary shop, before a page adds its own.

Environment: ``SHOP_DB`` (a path, or ``postgres://user@host:port/name``), ``SHOP_BROKER``, ``SHOP_RESULTS``.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "not-a-secret: the shop exists only in tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
TIME_ZONE = "Europe/Amsterdam"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
MEDIA_ROOT = BASE_DIR / "media"
STATIC_URL = "static/"
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

SILENCED_SYSTEM_CHECKS = [  # the shop has no web server to protect
    *(f"security.W{number:03}" for number in (1, 2, 3, 4, 8, 9, 12, 16)),
]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    *filter(find_spec, ["django_celery_beat"]),  # not installable beside every Django
    "django_celery_results",
    "accounts",
    "catalog",
    "orders",
    "payments",
    "imports",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def database(address: str) -> dict:
    """Translate ``SHOP_DB`` into a Django database entry."""
    url = urlsplit(address)
    if url.scheme != "postgres":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.lstrip("/"),
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "HOST": url.hostname or "",
        "PORT": url.port or "",
    }


DATABASES = {"default": database(os.environ.get("SHOP_DB", str(BASE_DIR / "shop.sqlite3")))}

CELERY_BROKER_URL = os.environ.get("SHOP_BROKER", "memory://")
CELERY_RESULT_BACKEND = os.environ.get("SHOP_RESULTS", "django-db")
CELERY_TIMEZONE = TIME_ZONE
# The values that production-deployment's deploy check asks for.
CELERY_TASK_TIME_LIMIT = 300
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1000
CELERY_BROKER_CONNECTION_MAX_RETRIES = None

from .logs import LOGGING  # noqa: E402,F401
