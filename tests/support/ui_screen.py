"""One page of the dashboard in a browser, with an ear on its console."""

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from support.ui import Dashboard


class Screen:
    """One page of the dashboard, and what its console said."""

    def __init__(self, context: BrowserContext, cloud: Dashboard) -> None:
        self.page: Page = context.new_page()
        self.cloud = cloud
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, path: str) -> Page:
        """Go to a screen and wait until its data stands there."""
        self.page.goto(f"{self.cloud.url}/#{path}")
        self.page.locator("main h1").first.wait_for(state="attached")
        expect(self.page.locator("main .loading")).to_have_count(0)
        return self.page
