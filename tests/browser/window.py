"""A browser window, what it complains about, and whether people can use what it shows."""

import os
from pathlib import Path

from playwright.sync_api import expect

from tests.processes import WEB_URL

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESK = {"width": 1280, "height": 800}
SMALLEST = {"width": 320, "height": 640}
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
LARGEST_PICTURE = 300_000
PATIENCE = 40_000
"""Milliseconds; other tests may be at work beside this one."""

expect.set_options(timeout=PATIENCE)

BASICS = """() => {
  const named = (element) =>
    (element.labels && element.labels.length) || element.getAttribute("aria-label") ||
    element.getAttribute("aria-labelledby") || element.textContent.trim() || element.value;
  const seen = (element) => element.getClientRects().length > 0;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);
  return {
    language: document.documentElement.lang.slice(0, 2),
    titled: document.title.trim() !== "",
    headings: document.querySelectorAll("h1").length,
    mains: document.querySelectorAll("main").length,
    nameless: all("input:not([type=hidden]), select, textarea, button, a[href]")
      .filter((element) => !named(element)).map((element) => element.outerHTML),
    unexplained: [...document.images].filter((image) => !image.hasAttribute("alt")).length,
    doubled: all("[id]").map((element) => element.id)
      .filter((id, index, ids) => ids.indexOf(id) !== index),
  };
}"""
USABLE = {
    "language": "en",
    "titled": True,
    "headings": 1,
    "mains": 1,
    "nameless": [],
    "unexplained": 0,
    "doubled": [],
}


class Window:
    """One window of one person, with everything that went wrong in it."""

    def __init__(self, page):
        self.page = page
        self.complaints = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._hear_of)
        page.on("response", self._look_at)

    def _listen(self, message):
        # A violation of the content policy is an error of the console too.
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _hear_of(self, request):
        # Whoever clicks on before everything is there ends what is still being fetched.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.failure}: {request.url}")

    def _look_at(self, response):
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def go(self, path):
        self.page.goto(f"{WEB_URL}{path}")

    def sign_in(self, account):
        """Sign in by keyboard alone."""
        self.page.get_by_label("User name").fill(account.username)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(account.password)
        self.page.keyboard.press("Enter")

    def look_at(self, heading):
        """Arrive at a page; then labels, headings, alternatives, and nothing sticks out at 320."""
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(heading)
        found = self.page.evaluate(BASICS)
        before = self.page.viewport_size
        self.page.set_viewport_size(SMALLEST)
        too_wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        self.page.set_viewport_size(before)

        assert found == USABLE, self.page.url
        assert too_wide <= 0, f"{self.page.url} is {too_wide} px too wide"

    def take_picture(self, name):
        """Write a picture for the documents, if CONCORD_PICTURES=1."""
        if os.environ.get("CONCORD_PICTURES") != "1":
            return
        file = PICTURES / f"{name}.png"
        self.page.screenshot(path=file, animations="disabled", caret="hide")
        assert file.stat().st_size < LARGEST_PICTURE
