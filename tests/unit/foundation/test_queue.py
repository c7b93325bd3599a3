"""Names of jobs: one id for one piece of work, and every name leads to a function."""

from __future__ import annotations

from importlib import import_module
from itertools import product

import pytest

from labelwheel.queue import JOBS, QUEUES, JobKind, _job_id


@pytest.mark.parametrize("kind", JOBS.values(), ids=JOBS)
def test_every_job_is_a_function_in_a_queue_that_is_worked(kind: JobKind) -> None:
    module, _, name = kind.function.rpartition(".")
    assert callable(getattr(import_module(module), name))
    assert kind.queue in QUEUES


def test_ids_tell_jobs_and_arguments_apart() -> None:
    ids = [_job_id(name, argument) for name, argument in product(JOBS, (None, 0, 1, 11))]
    assert len(set(ids)) == len(ids)
