from django.contrib import admin
from django.urls import path

from shop.metrics import metrics

urlpatterns = [path("admin/", admin.site.urls), path("metrics", metrics)]
