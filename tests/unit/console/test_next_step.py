"""The page names one next step, and none while the wheel turns by itself."""

from __future__ import annotations

import pytest

from console.next_step import Loop, next_step


@pytest.mark.parametrize(
    ("loop", "title"),
    [
        (Loop(), "Send some images"),
        (Loop(captures=9), "Images are on their way to Label Studio"),
        (Loop(captures=9, pushed=4, labels=3), "Label the first images"),
        (Loop(captures=9, pushed=4, active_run="training"), None),
        (Loop(captures=9, labels=120, runs=1, last_verdict="failed"), "Look at the failed training"),
        (Loop(captures=9, labels=120, model="v1", pushed=4), "Correct what the model is unsure of"),
        (Loop(captures=9, labels=120, model="v1"), None),
    ],
)
def test_next_step(loop: Loop, title: str | None) -> None:
    step = next_step(loop)
    assert (step["title"] if step else None) == title


def test_one_image_waits_and_two_images_wait() -> None:
    assert [next_step(Loop(captures=9, model="v1", pushed=n))["text"] for n in (1, 2)] == [  # type: ignore[index]
        "1 image waits in Label Studio.",
        "2 images wait in Label Studio.",
    ]
