"""What is quoted of a trainer's log."""

from __future__ import annotations

from pathlib import Path

from retrain.training.words import LAST_WORDS, ending, said

BARS = "\x1b[K\x1b[34m\x1b[1mtrain: \x1b[0mCaching images: 19% ━━──── 97/495\r\x1b[Ktrain: 100% ━━━━━━ 495/495 599.5it/s 0.8s\n"


def test_colours_and_bars_are_left_out_and_the_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(BARS + "\x1b[31mRuntimeError:\x1b[0m out of memory\n\n" + BARS)
    assert said(log) == "RuntimeError: out of memory"
    log.write_text("x" * 5000 + " the end")
    assert len(said(log)) == LAST_WORDS and said(log).endswith("the end")
    log.write_bytes(b"\xff\xfe broken")
    assert said(log).endswith("broken")


def test_what_an_earlier_trainer_said_is_not_why_this_one_ended(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("the first one's fault\n")
    assert said(log, log.stat().st_size) == ""


def test_an_ending_is_told() -> None:
    assert ending(-9).startswith("was killed") and "memory" in ending(-9)
    assert (ending(-11), ending(-15), ending(1)) == ("was ended by SIGSEGV", "was ended by SIGTERM", "ended with exit code 1")
