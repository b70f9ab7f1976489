from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from orders.models import Report
from orders.tasks import build_report


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
    open_ones = Report.objects.filter(pk=pk, status__in=[Report.Status.QUEUED, Report.Status.RUNNING])
    open_ones.update(status=Report.Status.CANCELLED)
    return as_json(get_object_or_404(Report, pk=pk))
