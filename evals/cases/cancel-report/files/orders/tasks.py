from celery import shared_task

from orders.models import Report
from orders.warehouse import figures


@shared_task(name="orders.build_report")
def build_report(report_pk):
    report = Report.objects.get(pk=report_pk)
    report.status = Report.Status.RUNNING
    report.save()
    for section in range(report.sections):
        report.lines.create(section=section, text=figures(report.pk, section))
        report.sections_done += 1
        report.save()
    report.status = Report.Status.DONE
    report.save()
