from celery import shared_task
from django.db import transaction
from django.db.models import F

from orders.models import Report, ReportLine
from orders.warehouse import figures


@shared_task(name="orders.build_report")
def build_report(report_pk):
    reports = Report.objects.filter(pk=report_pk)
    if not reports.filter(status=Report.Status.QUEUED).update(status=Report.Status.RUNNING):
        return
    running = reports.filter(status=Report.Status.RUNNING)
    for section in range(reports.get().sections):
        text = figures(report_pk, section)
        with transaction.atomic():
            if not running.update(sections_done=F("sections_done") + 1):  # cancelled
                return
            ReportLine.objects.create(report_id=report_pk, section=section, text=text)
    running.update(status=Report.Status.DONE)
