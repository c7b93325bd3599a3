"""supervisord's event listener that never gives up: a program that became FATAL is started again.

supervisord's back-off grows by a second at each try, without end. We let it give up after ten tries and begin anew: so the
longest pause is ten seconds, whether `up` watches or not. Run by path; it speaks supervisord's protocol on stdin and stdout.
"""

from __future__ import annotations

import os
from contextlib import suppress
from http.client import HTTPException
from xmlrpc.client import Error

from supervisor import childutils


def main() -> None:
    """Answer events for ever."""
    while True:
        _, payload = childutils.listener.wait()
        event = childutils.get_headers(payload)
        with suppress(Error, OSError, HTTPException):  # it is shutting down, or somebody was faster
            childutils.getRPCInterface(os.environ).supervisor.startProcess(f"{event['groupname']}:{event['processname']}", False)
        childutils.listener.ok()


if __name__ == "__main__":
    main()
