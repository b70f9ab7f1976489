import logging

from celery import chord, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction

from orders import branches
from orders.models import Report

logger = logging.getLogger(__name__)


@shared_task(name="orders.branch_turnover", ignore_result=False)  # the chord needs it
def branch_turnover(branch):
    """The branch and its turnover, or None: a member that raises would keep the report from being finished."""
    try:
        return branch, int(branches.turnover(branch))
    except SoftTimeLimitExceeded:
        raise
    except Exception:
        logger.exception("no turnover of %s", branch)
        return branch, None


@shared_task(name="orders.finish_report", ignore_result=True)
def finish_report(answers, report_pk):
    known = {branch: turnover for branch, turnover in answers if turnover is not None}
    status = Report.Status.DONE if len(known) == len(answers) else Report.Status.PARTLY
    if not known:
        status = Report.Status.FAILED
    Report.objects.filter(pk=report_pk).update(turnover=known, status=status)


@shared_task(name="orders.report_failed")
def report_failed(request, exc, traceback, report_pk):
    Report.objects.filter(pk=report_pk).update(status=Report.Status.FAILED)


def start_report():
    """Begin yesterday's report; the page shows its row."""
    report = Report.objects.create()
    building = chord([branch_turnover.s(branch) for branch in branches.BRANCHES], finish_report.s(report.pk))
    building.on_error(report_failed.s(report.pk))
    transaction.on_commit(building.delay)
    return report
