"""Chromium, and how a person would find things in it."""

import json
import os
import time

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.select import Select

from world import Failed, eventually

WIDTH, HEIGHT = 1280, 800

# What the security policy stopped, whether or not it is logged.
LISTEN = """
window.stopped = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.stopped.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""

AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"] }).then(
  ({ violations }) => done(violations.map(({ id, help, nodes }) =>
    `${id}: ${help}: ${nodes.map(({ target, failureSummary }) => `${target} (${failureSummary})`).join("; ")}`)),
  (error) => done([`axe failed: ${error}`]));
"""


class Browser:
    def __init__(self, chromium, chromedriver, axe, origin, work):
        self.origin, self.axe_source = origin, axe.read_text()
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "--headless=new",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--lang=en",
            "--force-device-scale-factor=1",
            "--hide-scrollbars",
            f"--user-data-dir={work}/profile",
        ):
            options.add_argument(argument)
        if os.getuid() == 0:
            # Chromium's own sandbox refuses to run as root.
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, Service(chromedriver, log_output=str(work / "chromedriver.log")))
        self.driver.set_script_timeout(60)
        self.driver.set_page_load_timeout(30)
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTEN})
        self.size(WIDTH, HEIGHT)
        self.scheme("light")

    def quit(self):
        self.driver.quit()

    # How it looks.

    def size(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def save(self, file):
        file.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(file))

    # Where it is.

    def open(self, path="/console"):
        self.driver.get(self.origin + path)

    def view(self, address):
        self.driver.execute_script("location.hash = arguments[0]", address)

    def heading(self, text):
        eventually(f"the heading {text!r}", lambda: self.text("h1") == text)

    # What is there.

    def script(self, source, *arguments):
        return self.driver.execute_script(source, *arguments)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """The text that is to be seen, or nothing."""
        return self.script("return document.querySelector(arguments[0])?.innerText?.trim() ?? ''", selector)

    def texts(self, selector):
        return self.script("return [...document.querySelectorAll(arguments[0])].map((node) => node.innerText.trim())", selector)

    def says(self, selector, text, within=15.0):
        """Waits until this is among what is said there."""
        try:
            eventually(text, lambda: text in self.text(selector), within)
        except Failed:
            raise Failed(f"{selector} should say {text!r}, and says {self.text(selector)!r}") from None

    def rows(self, caption):
        """A table's rows, by the beginning of its caption."""
        source = """
        const table = [...document.querySelectorAll("table")].find((one) => one.caption?.textContent.startsWith(arguments[0]));
        return table ? [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.innerText.trim())) : [];
        """
        return self.script(source, caption)

    def row(self, caption, *words, within=15.0):
        """The first row with all of these words, once there is one."""
        fitting = lambda: next((row for row in self.rows(caption) if all(any(word in cell for cell in row) for word in words)), None)
        try:
            return eventually("", fitting, within)
        except Failed:
            raise Failed(f"{caption}: no row with {words}, but {self.rows(caption)[:5]}") from None

    def steps(self):
        """Each step of an explanation: its name, its state, and what is said of it."""
        return self.script("""
        const text = (node) => node.textContent.trim();
        return [...document.querySelectorAll("ol.steps > li")].map((step) => [text(step.querySelector("strong")),
          text(step.querySelector(".badge")), Object.fromEntries([...step.querySelectorAll("dl > div")].map((pair) => [...pair.children].map(text)))]);
        """)

    def focused(self):
        source = "const at = document.activeElement; return [at.tagName, at.id, (at.innerText || at.value || '').trim()]"
        return self.script(source)

    # What people do.

    def find(self, text, selector="button, a", within=15.0):
        """What is called this, and can be clicked on."""

        def look():
            for node in self.all(selector):
                try:
                    if node.is_displayed() and node.is_enabled() and node.accessible_name == text:
                        return node
                except StaleElementReferenceException:
                    pass

        return eventually(f"{selector} called {text!r}", look, within)

    def click(self, text, selector="button, a"):
        for _ in range(5):
            try:
                return self.find(text, selector).click()
            except StaleElementReferenceException:
                pass
        raise Failed(f"{text!r} does not stay to be clicked on")

    def write(self, label, text):
        node = self.find(label, "input, textarea, select")
        node.clear()
        node.send_keys(text)
        return node

    def choose(self, label, beginning):
        """An option, by the beginning of what it says; counts may change meanwhile."""
        node = self.find(label, "select")
        option = next(one for one in Select(node).options if one.text.startswith(beginning))
        Select(node).select_by_value(option.get_attribute("value"))

    def keys(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def tab_to(self, text, most=30):
        """By the keyboard alone."""
        for _ in range(most):
            self.keys(Keys.TAB)
            if self.driver.switch_to.active_element.accessible_name == text:
                return
        raise Failed(f"{text!r} is not reached by Tab; the focus is at {self.focused()}")

    # What is wrong.

    def violations(self):
        self.script(self.axe_source)
        return self.driver.execute_async_script(AXE)

    def stopped(self):
        return self.script("return window.stopped")

    def logged(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def strangers(self):
        """Requests of the page that went elsewhere."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] != "Network.requestWillBeSent":
                continue
            page, url = message["params"]["documentURL"], message["params"]["request"]["url"]
            # Chromium opens a page of its own first, and brings the icons of its own fields.
            if page.startswith(self.origin) and not url.startswith((f"{self.origin}/", "data:")):
                found.append(url)
        return found

    def overflow(self):
        """How many pixels the page is wider than the window."""
        return self.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def settle(self, seconds=0.3):
        time.sleep(seconds)
