"""The page in a browser: keys vote, a hostile answer stays text, and it looks the same after a reload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from woolgather.vote.server import VoteServer

from .chromium import CHROMIUM, Chromium

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    found = Chromium(tmp_path / "profile")
    yield found
    found.close()


def test_keys_vote_tie_and_undo(browser: Chromium, server: VoteServer) -> None:
    browser.open(server.address)
    browser.wait("state && state.voted === 0")
    seen = set()
    for count, key in enumerate(("1", "2", "0", "t", "ArrowLeft"), 1):
        seen.add(browser.value("state.pair.id"))
        browser.press(key)
        browser.wait(f"state.voted === {count} && !busy")
    assert len(seen) == 5
    assert server.booth.tally.counts["tie"] == 2
    browser.press("u")
    browser.wait("state.voted === 4 && !busy")
    assert browser.value("state.pair.id") in seen
    assert browser.value("document.getElementById('count').textContent") == "4 of 6, 2 ties"
    browser.open(server.address + "?again")
    browser.wait("state && state.voted === 4 && !busy")
    for count in (5, 6):
        browser.press("ArrowRight")
        browser.wait(f"state.voted === {count} && !busy")
    assert browser.value("document.getElementById('booth').hidden")
    browser.press("r")
    browser.value("document.getElementById('show').click()")
    browser.wait("!document.getElementById('found').hidden")
    assert "result" in browser.value("document.getElementById('sentence').textContent")


def test_an_answer_is_text_whatever_it_says(browser: Chromium, server: VoteServer) -> None:
    browser.open(server.address)
    browser.wait("state !== null")
    answers = browser.value(
        "[...document.querySelectorAll('.answer .text')].map(p => p.textContent)"
    )
    assert any("<script>" in text for text in answers)
    assert browser.value("document.querySelectorAll('.answer img, .answer script').length") == 0
    assert browser.value("document.title") == "Vote · woolgather"
    picture = browser.picture()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
