"""What the library logs of long work is told while a run lasts."""

from __future__ import annotations

import logging

from graphdiff.cli.notices import notices

LOG = logging.getLogger("graphdiff.models.compiled")


def test_what_is_logged_meanwhile_is_told_and_nothing_after_it() -> None:
    told: list[str] = []
    before = logging.getLogger("graphdiff").level
    LOG.info("too early")
    with notices(told.append):
        LOG.info("compiling %s", "UNet2DConditionModel")
        LOG.debug("details")
    LOG.info("too late")
    assert told == ["compiling UNet2DConditionModel"]
    assert logging.getLogger("graphdiff").level == before
