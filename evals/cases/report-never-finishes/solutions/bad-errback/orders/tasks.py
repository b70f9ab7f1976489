from celery import chord, shared_task
from django.db import transaction

from orders import branches
from orders.models import Report


@shared_task(name="orders.branch_turnover", ignore_result=False)
def branch_turnover(branch):
    return branch, int(branches.turnover(branch))


@shared_task(name="orders.finish_report", ignore_result=True)
def finish_report(answers, report_pk):
    Report.objects.filter(pk=report_pk).update(turnover=dict(answers), status=Report.Status.DONE)


@shared_task(name="orders.report_failed")
def report_failed(request, exc, traceback, report_pk):
    Report.objects.filter(pk=report_pk).update(status=Report.Status.PARTLY)


def start_report():
    """Begin yesterday's report; the page shows its row."""
    report = Report.objects.create()
    building = chord([branch_turnover.s(branch) for branch in branches.BRANCHES], finish_report.s(report.pk))
    building.on_error(report_failed.s(report.pk))
    transaction.on_commit(building.delay)
    return report
