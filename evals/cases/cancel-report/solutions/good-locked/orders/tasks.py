from celery import shared_task
from django.db import transaction

from orders.models import Report
from orders.warehouse import figures


class Cancelled(Exception):
    pass


def locked(report_pk):
    report = Report.objects.select_for_update().get(pk=report_pk)
    if report.status == Report.Status.CANCELLED:
        raise Cancelled
    return report


def build(report_pk):
    with transaction.atomic():
        report = locked(report_pk)
        report.status = Report.Status.RUNNING
        report.save(update_fields=["status"])
    for section in range(report.sections):
        text = figures(report_pk, section)
        with transaction.atomic():
            report = locked(report_pk)
            report.lines.create(section=section, text=text)
            report.sections_done = section + 1
            report.save(update_fields=["sections_done"])
    with transaction.atomic():
        report = locked(report_pk)
        report.status = Report.Status.DONE
        report.save(update_fields=["status"])


@shared_task(name="orders.build_report")
def build_report(report_pk):
    try:
        build(report_pk)
    except Cancelled:
        return "cancelled"
