"""Every Python block of SKILL.md and the references compiles, and each page makes a project that Django accepts."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pages import PAGES, PROBE, Block, blocks, build, run

BLOCKS = [pytest.param(block, id=block.place) for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("block", BLOCKS)
def test_block_compiles_and_names_its_file(block: Block) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile(block.fence.content, block.place, "exec")
    assert block.fence.title, f'{block.place}: a Python block names its file: ```python title="app/file.py"'
    assert block.fence.title.endswith(".py")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_makes_a_project(page: Path, tmp_path: Path) -> None:
    names = build(page, tmp_path / "project")
    variants = [name for name in names if name.startswith("shop.settings_")]
    modules = [name for name in names if ".settings" not in name]
    for settings in ("shop.settings", *variants):
        done = run(tmp_path / "project", "-W", "error::SyntaxWarning", "-c", PROBE, *modules, settings=settings)
        assert done.returncode == 0, f"{page.name} with {settings}:\n{done.stdout}{done.stderr}"
