from celery import shared_task
from django.db import transaction

from orders import branches
from orders.models import Report


@shared_task(name="orders.branch_turnover", ignore_result=True)
def branch_turnover(branch, report_pk):
    try:
        turnover = int(branches.turnover(branch))
    except (branches.BranchOffline, ValueError):
        turnover = None
    with transaction.atomic():
        report = Report.objects.select_for_update().get(pk=report_pk)
        report.turnover[branch] = turnover
        if len(report.turnover) == len(branches.BRANCHES):
            missing = list(report.turnover.values()).count(None)
            report.status = Report.Status.PARTLY if missing else Report.Status.DONE
            if missing == len(branches.BRANCHES):
                report.status = Report.Status.FAILED
        report.save()


def start_report():
    """Begin yesterday's report; the page shows its row."""
    report = Report.objects.create()
    for branch in branches.BRANCHES:
        branch_turnover.delay_on_commit(branch, report.pk)
    return report
