from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.up import ports
from labelwheel.errors import SettingsError
from labelwheel.settings import Settings, load_settings
from tests.fixtures.doors import living

WANTED = {"ml_backend_port": 9090, "console_port": 8700}


def settings(home: Path, **fields: object) -> Settings:
    return Settings(_env_file=None, home=home, **fields)  # type: ignore[call-arg,arg-type]


def test_the_wanted_ports_are_taken_when_free() -> None:
    assert ports.choose_ports(WANTED, {}, lambda port: True) == WANTED


def test_the_next_free_port_stands_in_for_a_busy_one() -> None:
    assert ports.choose_ports(WANTED, {}, lambda port: port not in {9090, 9091})["ml_backend_port"] == 9092


def test_the_port_of_the_last_run_is_kept_while_free() -> None:
    last = {"console_port": 8703}
    assert ports.choose_ports(WANTED, last, lambda port: True)["console_port"] == 8703
    assert ports.choose_ports(WANTED, last, lambda port: port != 8703)["console_port"] == 8700


def test_no_free_port_names_the_setting() -> None:
    with pytest.raises(SettingsError, match="LABELWHEEL_ML_BACKEND_PORT"):
        ports.choose_ports(WANTED, {}, lambda port: False)


@given(
    wanted=st.dictionaries(st.sampled_from(["a_port", "b_port", "c_port"]), st.integers(1, 20), min_size=1),
    last=st.dictionaries(st.sampled_from(["a_port", "b_port", "c_port"]), st.integers(1, 20)),
    busy=st.sets(st.integers(1, 30)),
)
def test_chosen_ports_are_free_and_differ(wanted: dict[str, int], last: dict[str, int], busy: set[int]) -> None:
    chosen = ports.choose_ports(wanted, last, lambda port: port not in busy)
    assert chosen.keys() == wanted.keys()
    assert len(set(chosen.values())) == len(chosen)
    assert not busy & set(chosen.values())


def test_a_listener_makes_a_port_busy() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_last_ports_are_recalled_only_for_the_same_wish(tmp_path: Path) -> None:
    note = tmp_path / "ports.json"
    ports.remember(note, WANTED, {"ml_backend_port": 9092, "console_port": 8700})
    assert ports.recall(note, {"ml_backend_port": 9090, "console_port": 9000}) == {"ml_backend_port": 9092}
    assert ports.recall(tmp_path / "none.json", WANTED) == {}


def test_urls_left_to_us_follow_the_ports(tmp_path: Path) -> None:
    taken = ports.addresses(settings(tmp_path), {"ml_backend_port": 9092, "console_port": 8700, "label_studio_port": 8081})
    assert taken == {
        "ml_backend_port": 9092,
        "ml_backend_url": "http://127.0.0.1:9092",
        "ml_backend_public_url": "http://127.0.0.1:9092",
        "console_port": 8700,
        "console_url": "http://127.0.0.1:8700",
        "label_studio_port": 8081,
        "label_studio_url": "http://127.0.0.1:8081",
        "label_studio_public_url": "http://127.0.0.1:8081",
        "label_studio_name": "embedded",
    }


def test_urls_of_the_user_are_left_alone(tmp_path: Path) -> None:
    configured = settings(tmp_path, ml_backend_url="http://camera-host:9090", label_studio_url="https://labels.example")
    wanted = ports.wanted_ports(configured)
    assert "label_studio_port" not in wanted
    assert not {"ml_backend_url", "ml_backend_public_url", "label_studio_url"} & ports.addresses(configured, wanted).keys()


def test_what_is_configured_does_not_contain_what_up_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with living(settings(tmp_path), label_studio_url="http://127.0.0.1:8081"):
        assert load_settings(tmp_path).label_studio_url == "http://127.0.0.1:8081"
        assert load_settings(tmp_path, live=False).label_studio_url == ""
