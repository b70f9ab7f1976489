from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from orders.models import Report
from orders.tasks import build_report
from shop.celery import app


def as_json(report):
    return JsonResponse({"id": report.pk, "status": report.status, "lines": report.lines.count()})


@require_POST
def start_report(request):
    report = Report.objects.create(sections=int(request.POST["sections"]))
    report.task_id = build_report.delay(report.pk).id
    report.save(update_fields=["task_id"])
    return as_json(report)


@require_GET
def report_status(request, pk):
    return as_json(get_object_or_404(Report, pk=pk))


@require_POST
def cancel_report(request, pk):
    with transaction.atomic():
        report = get_object_or_404(Report.objects.select_for_update(), pk=pk)
        if report.status != Report.Status.DONE:
            report.status = Report.Status.CANCELLED
            report.save(update_fields=["status"])
    app.control.revoke(report.task_id)  # a worker that has not begun need not
    return as_json(report)
