"""How a worker ends when who watches over it was killed: it would hold the address against the next server."""

import logging
import os
import signal
from multiprocessing import parent_process

from zhiyin.cli.clibrary import c_function

LOG = logging.getLogger(__name__)

WHEN_PARENT_ENDS = 1
"""The first parameter of Linux's `prctl`, by which a process is sent a signal then."""


def end_with_parent() -> None:
    """As if this process were told to: what it was asked is answered first. Not on Linux, nothing changes."""
    prctl = c_function("prctl")
    if prctl is None:
        LOG.info("workers outlive who watches over them: this system is not Linux")
        return
    prctl(WHEN_PARENT_ENDS, signal.SIGTERM)
    parent = parent_process()
    if parent is not None and os.getppid() != parent.pid:
        # It ended before the system was told.
        os.kill(os.getpid(), signal.SIGTERM)
