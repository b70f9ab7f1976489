"""What the references tell people to write, the audit has nothing against."""

from __future__ import annotations

import sys
from pathlib import Path

import pages
import pytest
from trees import findings

HERE = pages.Environment("here", Path(sys.executable))
# Where a page does on purpose what a rule points out.
MEANT = {
    ("production-deployment.md", "DCE715"): "late acknowledgement everywhere, for workers on machines that vanish",
}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_audit_of_a_page(page: Path, tmp_path: Path) -> None:
    pages.build(page, tmp_path, HERE)
    found = {(page.name, finding.rule.id) for finding in findings(tmp_path)}
    assert found == {key for key in MEANT if key[0] == page.name}
