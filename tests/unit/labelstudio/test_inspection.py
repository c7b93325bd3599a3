from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labelwheel.labelstudio.inspection import Fault, Setup, backend_faults, storage_faults, version_faults, webhook_faults

URL = "http://127.0.0.1:9090"
WANTED = Setup(backend_url=URL, webhook_url=f"{URL}/webhook", secret_header="X-Secret")


def codes(faults: Any) -> list[str]:
    return [fault.code for fault in faults if isinstance(fault, Fault)]


def backend(**changes: Any) -> dict[str, Any]:
    return {"url": URL, "title": "Labelwheel", "state": "CO", "readable_state": "Connected", "error_message": None, **changes}


def hook(**changes: Any) -> dict[str, Any]:
    return {"url": f"{URL}/webhook", "headers": {"X-Secret": "s"}, "is_active": True, **changes}


def test_a_connected_backend_has_no_fault_whatever_the_slash() -> None:
    assert codes(backend_faults([backend(url=f"{URL}/"), backend(url="http://elsewhere", state="ER")], URL)) == []


def test_faults_of_the_backend() -> None:
    assert codes(backend_faults([], URL)) == ["backend_missing"]
    assert codes(backend_faults([backend(), backend()], URL)) == ["backend_twice"]
    [fault] = backend_faults([backend(state="ER", readable_state="Error", error_message="no such label")], URL)
    assert "no such label" in fault.message


def test_faults_of_the_webhook() -> None:
    assert codes(webhook_faults([hook(), hook(headers={})], WANTED)) == []
    assert codes(webhook_faults([hook(headers={})], WANTED)) == ["webhook_missing"]
    assert codes(webhook_faults([hook(url="http://old/webhook", is_active=False)], WANTED)) == ["webhook_url", "webhook_off"]


@pytest.mark.parametrize(
    ("stored", "expected"), [("/data/images", []), ("/data", []), ("/data/images/sub", ["storage_missing"]), ("/dat", ["storage_missing"])]
)
def test_a_storage_covers_its_folder_and_those_below(stored: str, expected: list[str]) -> None:
    assert codes(storage_faults([{"path": stored}], Path("/data/images"))) == expected


def test_no_storage_is_wanted_where_images_are_signed() -> None:
    assert codes(storage_faults([], None)) == []


@pytest.mark.parametrize(
    ("actual", "wanted", "expected"),
    [
        ("m@1", "m@1", []),
        ("m@1", None, []),
        ("", "m@1", ["model_version"]),
        ("Labelwheel", "m@1", ["model_version_live"]),
        ("Labelwheel", None, ["model_version_live"]),
    ],
)
def test_faults_of_the_pinned_version(actual: str, wanted: str | None, expected: list[str]) -> None:
    assert codes(version_faults(actual, wanted, ["Labelwheel"])) == expected
