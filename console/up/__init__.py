"""`labelwheel up`: everything on loopback, started in order, supervised by supervisord, stopped in reverse.

    start      take the lock, choose ports, migrate, start each step of the plan and await its health, then watch
    stop       end what runs, from any terminal
    status     what supervisord says of each program

`programs.plan` says what runs; the plan is a value, so a test or a larger installation brings its own.
"""

from __future__ import annotations

from console.up.lifecycle import start, status, stop
from console.up.programs import Program, ProgramState, StartError, Task

__all__ = ["Program", "ProgramState", "StartError", "Task", "start", "status", "stop"]
