from django.contrib import admin
from django.urls import path

from orders import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("reports/", views.start_report),
    path("reports/<int:pk>/", views.report_status),
    path("reports/<int:pk>/cancel/", views.cancel_report),
]
