"""The overview in a real browser: it draws, follows the database, works on a phone, and asks nobody but us."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update
from werkzeug.serving import make_server

from console.web import create_app
from labelwheel.database import Database
from labelwheel.database.tables import Capture, TrainingRun
from labelwheel.settings import Settings
from tests.fixtures import wheel


@dataclass
class Console:
    url: str
    database: Database
    settings: Settings


@dataclass
class Witness:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    settings = wheel.settings_for(tmp_path)
    database = wheel.migrated(settings)
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Console(f"http://127.0.0.1:{server.server_port}", database, settings)
    server.shutdown()
    database.dispose()


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def page(browser: Browser, witness: Witness) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    witness.follow(page)
    yield page
    context.close()


def log_in(page: Page, console: Console) -> None:
    page.goto(console.url)
    page.get_by_label("User").fill("engineer")
    page.get_by_label("Password").fill(wheel.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(console.url + "/")


def fill(console: Console, *, training: bool = False) -> None:
    wheel.fill(console.database, wheel.connect(console.database, console.settings).id, training=training)


def stays_home(witness: Witness) -> bool:
    return {urlsplit(url).hostname for url in witness.requests if not url.startswith("data:")} == {"127.0.0.1"}


def test_the_page_draws_the_wheel_and_asks_nobody_else(page: Page, console: Console, witness: Witness) -> None:
    fill(console)
    log_in(page, console)
    expect(page.get_by_role("heading", name="Deployed model")).to_be_visible()
    expect(page.locator("#part-model")).to_contain_text("0.563")
    expect(page.locator("#part-drift .state")).to_have_text(["calm", "calm", "alert"])
    expect(page.get_by_role("status")).to_have_text("live")
    expect(page.get_by_role("link", name="Open Label Studio")).to_have_attribute("href", f"{wheel.LABEL_STUDIO}/projects/7/data")
    assert page.locator(".station").count() == 7
    assert stays_home(witness), witness.requests
    assert witness.complaints == []


def test_the_button_starts_a_run_and_the_page_follows_it(page: Page, console: Console, witness: Witness) -> None:
    fill(console)
    log_in(page, console)
    page.get_by_role("button", name="Retrain now").click()
    expect(page.get_by_role("button", name="Training is under way")).to_be_disabled()
    with console.database.write() as session:
        session.execute(update(TrainingRun).where(TrainingRun.status == "queued").values(status="training", percent=73))
    expect(page.locator("#part-wheel .hub")).to_contain_text("73 %", timeout=8000)
    with console.database.write() as session:
        session.execute(update(TrainingRun).where(TrainingRun.status == "training").values(status="kept_champion", percent=100))
    expect(page.get_by_role("button", name="Retrain now")).to_be_enabled(timeout=8000)
    assert witness.complaints == []


def test_the_page_says_when_it_lost_the_server(page: Page, console: Console) -> None:
    fill(console)
    log_in(page, console)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.context.set_offline(True)
    expect(page.get_by_text("connection lost")).to_be_visible(timeout=8000)
    page.context.set_offline(False)
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=8000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_overflows_and_the_scheme_is_followed(browser: Browser, console: Console, scheme: str, width: int) -> None:
    fill(console, training=True)
    with console.database.write() as session:  # a source that has just begun, with a long name
        session.execute(update(Capture).where(Capture.id <= 16).values(source="press_07_camera_left_of_the_gate"))
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    page = context.new_page()
    log_in(page, console)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("html").get_attribute("data-bs-theme") == scheme
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)")
    assert (red + green + blue > 600) == (scheme == "light")
    page.get_by_role("link", name="What its labels bought").click()
    expect(page.get_by_role("cell", name="+0.290")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_empty_states_teach_the_next_step(page: Page, console: Console, witness: Witness) -> None:
    log_in(page, console)
    expect(page.get_by_text("labelwheel connect")).to_be_visible()
    wheel.connect(console.database, console.settings)
    page.reload()
    expect(page.get_by_label("Next step")).to_contain_text("labelwheel ingest")
    assert page.locator(".empty").count() == 4
    assert witness.complaints == []


def test_the_keyboard_reaches_everything(page: Page, console: Console) -> None:
    fill(console)
    log_in(page, console)
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText.trim()"))
    assert reached == [
        "Skip to the content",
        "Labelwheel",
        "Label Studio ↗",
        "Log out",
        "Open Label Studio ↗",
        "What its labels bought",
        "Retrain now",
    ]


def test_the_page_is_whole_without_a_script(browser: Browser, console: Console) -> None:
    fill(console)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page, console)
    expect(page.locator("#part-model")).to_contain_text("labelwheel@2")
    page.get_by_role("button", name="Retrain now").click()
    expect(page.get_by_role("button", name="Training is under way")).to_be_disabled()
    context.close()
