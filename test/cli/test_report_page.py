"""The report's page in a browser: it opens without errors, draws its charts, and its slider moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import CHROMEDRIVER, CHROMIUM
from drive_bag import write_drive
from report_inputs import with_small_network, write_folder, write_report

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser

READY_S = 60


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    folder, network = write_folder(root / "drive", 12), with_small_network(root)
    segmented = write_report(root / "segmented", folder, *network, "--intervals", "1,2,5")
    recorded = write_report(root / "recorded", write_drive(root / "bag", [3] * 20), "--recorded")
    return {"segmented": segmented / "report.html", "recorded": recorded / "report.html"}


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    # Root, as in containers, has no sandbox; the page is the test's own, and may load nothing from elsewhere.
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * 0.0.0.0",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


def opened(chrome: Chrome, page: Path, width: int = 1280, scheme: str = "light") -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chrome.get(page.as_uri())
    wait(chrome).until(lambda driver: evaluated(driver, "document.body.dataset.ready") == "true")
    assert chrome.get_log("browser") == []


def wait(chrome: Chrome) -> WebDriverWait[Chrome]:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(chrome, READY_S)


def evaluated(chrome: Chrome, expression: str) -> Any:
    return chrome.execute_script(f"return {expression}")


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (400, "dark")])
@pytest.mark.parametrize("kind, charts", [("segmented", 7), ("recorded", 4)])
def test_it_opens_and_draws(
    chrome: Chrome, pages: dict[str, Path], kind: str, charts: int, width: int, scheme: str
) -> None:
    opened(chrome, pages[kind], width, scheme)
    drawn = "[...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('.trace, .bars .point').length)"
    assert len(evaluated(chrome, drawn)) == charts
    assert all(evaluated(chrome, drawn)), evaluated(chrome, drawn)
    assert evaluated(chrome, "document.documentElement.clientWidth") == width
    assert evaluated(chrome, "document.documentElement.scrollWidth") == width
    right = evaluated(chrome, "[...document.querySelectorAll('.chart svg')].map(c => c.getBoundingClientRect().right)")
    assert max(right) <= width
    assert evaluated(chrome, "[...document.images].every(image => image.naturalWidth > 0)")


def test_its_colours_follow_the_scheme(chrome: Chrome, pages: dict[str, Path]) -> None:
    colour = "getComputedStyle(document.querySelector('.chart .xtitle')).fill"
    ground = "getComputedStyle(document.body).backgroundColor"
    opened(chrome, pages["segmented"], scheme="light")
    light = [evaluated(chrome, colour), evaluated(chrome, ground)]
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})  # while it is open
    assert light == ["rgb(28, 36, 48)", "rgb(246, 247, 249)"]
    wait(chrome).until(lambda driver: evaluated(driver, colour) == "rgb(230, 233, 238)")
    assert evaluated(chrome, ground) == "rgb(18, 22, 28)"


def test_the_slider_moves_the_shown_run(chrome: Chrome, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(chrome, pages["segmented"])
    slider = chrome.find_element(By.ID, "run")
    shown = [_shown(chrome)]
    for _ in range(2):
        slider.send_keys(Keys.ARROW_LEFT)
        shown.append(_shown(chrome))
    assert [one["title"] for one in shown] == ["K=5", "K=2", "K=1 (full)"]
    assert [one["largest"] for one in shown] == ["K=5", "K=2", "K=1 (full)"]
    assert [one["row"] for one in shown] == ["K=5", "K=2", "K=1 (full)"]
    assert "3 keyframes in 12 frames" in shown[0]["said"]
    assert "12 keyframes in 12 frames, agreement 100.00 %" in shown[2]["said"]


def test_it_prints_dark_on_white(chrome: Chrome, pages: dict[str, Path]) -> None:
    opened(chrome, pages["segmented"], scheme="dark")
    chrome.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    wait(chrome).until(lambda driver: evaluated(driver, "matchMedia('print').matches"))
    ink = "getComputedStyle(document.querySelector('.chart .xtitle')).fill"
    wait(chrome).until(lambda driver: evaluated(driver, ink) == "rgb(28, 36, 48)")
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_its_charts_are_in_the_pages_type(chrome: Chrome, pages: dict[str, Path]) -> None:
    opened(chrome, pages["segmented"])
    type_of = "getComputedStyle(document.querySelector('{}')).fontFamily"
    assert evaluated(chrome, type_of.format(".chart .xtitle")) == evaluated(chrome, type_of.format("body"))


def _shown(chrome: Chrome) -> dict[str, str]:
    return evaluated(
        chrome,
        """(() => {
          const cost = document.getElementById("cost").data[0];
          return {
            title: document.getElementById("run-title").value,
            said: document.getElementById("readout").textContent,
            row: document.querySelector("#runs tr.current th").textContent,
            largest: cost.text[cost.marker.size.indexOf(Math.max(...cost.marker.size))],
          };
        })()""",
    )
