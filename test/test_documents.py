"""The documents lead where they say: every link to a file or a heading, and every file that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from dcfm_ros import __version__
from dcfm_ros.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
# A checkout may hold virtual environments and the like, which have pages of their own.
_FOLDERS = ("docs", "dcfm_ros", "config", "test", ".github")
PAGES = sorted([*ROOT.glob("*.md"), *(path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.md"))])
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|^(?: {4}|\t).*?$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


_COMMAND = re.compile(r"\bdcfm ([a-z]+)((?: (?!#)[^`|#]*)?)")


def links_of(text: str) -> Iterator[str]:
    """Links to what is not on the web."""
    for target in _LINK.findall(_CODE.sub("", text)):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors_of(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Those whose file or heading is not there."""
    broken = []
    for link in links_of(page.read_text()):
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and anchor not in anchors_of(target.read_text())):
            broken.append(link)
    return broken


def unknown_to_the_command_line(text: str) -> list[str]:
    """Commands of `dcfm` that code in a page shows, with their options, as far as there are none such."""
    unknown = []
    for code in _CODE.findall(text.replace("\\\n", " ")):
        for name, arguments in _COMMAND.findall(code):
            if name not in COMMANDS:
                unknown.append(name)
                continue
            command = import_module(f"dcfm_ros.cli.{name}").command
            options = {name for option in command.params for name in (*option.opts, *option.secondary_opts, "--help")}
            shown = re.findall(r"(?<=\s)-{1,2}[a-z][a-z-]*", arguments)
            unknown += [f"{name} {option}" for option in shown if option not in options]
    return unknown


def test_there_are_pages_with_links() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/README.md"} <= {str(page.relative_to(ROOT)) for page in PAGES}
    assert sum(len(list(links_of(page.read_text()))) for page in PAGES) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    assert not broken_links(page)


@pytest.mark.parametrize("link", ["none.md", "page.md#no-heading", "#no-heading"])
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, link: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A heading, `code` and more\n\n[here](page.md#a-heading-code-and-more), [there]({link})\n")
    assert broken_links(page) == [link]


def test_the_index_has_every_page() -> None:
    linked = set(links_of((ROOT / "docs" / "README.md").read_text()))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= linked


def test_the_files_that_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"[\w./]*\w+/\w+\.(?:py|md|yaml|cfg|toml)\b", text))
    assert len(named) > 40
    missing = [name for name in sorted(named) if not any((root / name).is_file() for root in (ROOT, ROOT / "dcfm_ros"))]
    assert not [name for name in missing if not name.startswith("../")]


def test_the_templates_and_the_workflow_are_yaml_that_asks_for_the_doctor() -> None:
    found: dict[str, Any] = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github").rglob("*.yml")}
    assert any("dcfm doctor --json" in str(field) for field in found["bug.yml"]["body"])
    steps = [step.get("run", "") for job in found["ci.yml"]["jobs"].values() for step in job["steps"]]
    assert {"make lint", "make test"} <= {" ".join(step.split()[:2]) for step in steps}
    assert "doctor" in COMMANDS


def test_the_citation_has_the_packages_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2403.02689"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_has_its_options(page: Path) -> None:
    if page.name != "CHANGELOG.md":  # it tells of options that were
        assert not unknown_to_the_command_line(page.read_text())


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("    dcfm segment drive --output out   # masks", []),
        ("`dcfm evaluate mine --size 3`", ["evaluate --size"]),
        ("```\ndcfm bench \\\n    --streams 6 --quick\n```", ["bench --quick"]),
        ("`dcfm paint`", ["paint"]),
    ],
)
def test_a_command_that_does_not_exist_is_found(text: str, unknown: list[str]) -> None:
    assert unknown_to_the_command_line(text) == unknown
