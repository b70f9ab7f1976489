from celery import shared_task
from django.core.cache import cache

from orders.models import Report
from orders.warehouse import figures


@shared_task(name="orders.build_report")
def build_report(report_pk):
    report = Report.objects.get(pk=report_pk)
    report.status = Report.Status.RUNNING
    report.save()
    for section in range(report.sections):
        text = figures(report.pk, section)
        if cache.get(f"report-cancelled-{report.pk}"):
            report.status = Report.Status.CANCELLED
            report.save()
            return
        report.lines.create(section=section, text=text)
        report.sections_done += 1
        report.save()
    report.status = Report.Status.DONE
    report.save()
