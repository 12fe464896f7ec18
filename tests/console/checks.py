"""What `run` checks, with the programs that it has installed."""

import signal
import sys
import time
from pathlib import Path

from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.keys import Keys

from browser import HEIGHT, WIDTH, Browser
from world import ADMIN_TOKEN, READER_TOKEN, Failed, Load, World, eventually

# A change takes effect within a second; a busy machine gets more.
WITHIN = 10.0
# As much as the charts show.
WATCHED = 300.0

BEGAN = time.monotonic()
passed = 0


def say(text):
    print(f"[{time.monotonic() - BEGAN:5.1f} s] {text}", flush=True)


def ok(what):
    global passed
    passed += 1
    say(f"ok {what}")


def check(so, what):
    if not so:
        raise Failed(what)


class Console:
    def __init__(self, world, browser, pictures):
        self.world, self.browser, self.pictures = world, browser, pictures

    def picture(self, name):
        if self.pictures:
            self.browser.save(self.pictures / f"{name}.png")
            say(f"wrote {name}.png")

    def sign_in(self, token=ADMIN_TOKEN):
        self.browser.write("Admin token", token)
        self.browser.click("Sign in")

    def clean(self, *expected):
        """Nothing was logged but lines with one of these."""
        lines = [line for line in self.browser.logged() if not any(word in line for word in expected)]
        check(not lines, f"the browser's log: {lines}")

    def refused_at(self, name):
        """What is said of the step that refuses; all before it passed, and none behind it was reached."""
        steps = self.browser.steps()
        at = next((at for at, (step, _, _) in enumerate(steps) if step == name), None)
        check(at is not None, f"there is no step {name}: {steps}")
        # Of a token alone, nobody looks at the request.
        states = [state for _, state, _ in steps if state != "not looked at"]
        before = states.index("refused") if "refused" in states else len(states)
        wanted = ["passed"] * before + ["refused"] + ["not reached"] * (len(states) - before - 1)
        check(steps[at][1] == "refused" and states == wanted, f"not refused at {name}: {steps}")
        return steps[at][2]

    # Signing in.

    def a_wrong_token_is_refused_in_words(self):
        browser = self.browser
        browser.open("/")
        browser.heading("Sign in to Vestibule")
        check(not browser.all("header:not([hidden])"), "the views are offered to somebody unknown")
        self.sign_in("a wrong token")
        browser.says("[role=alert]", "This token was not accepted.")
        check(browser.script("return document.querySelector('input').value") == "", "the wrong token stays in its field")
        self.clean("/console/session - Failed to load resource: the server responded with a status of 401")
        ok("a wrong token is refused, and words say so")

    def keyboard_alone(self):
        browser = self.browser
        browser.open()
        browser.heading("Sign in to Vestibule")
        eventually("the field has the focus", lambda: browser.focused()[0] == "INPUT")
        browser.keys(ADMIN_TOKEN, Keys.ENTER)
        browser.heading("Overview")
        eventually("the heading has the focus", lambda: browser.focused()[0] == "H1")
        ok("signed in by the keyboard alone")
        browser.open()
        browser.heading("Overview")
        browser.keys(Keys.TAB)
        check(browser.focused()[1] == "skip", f"Tab first reaches {browser.focused()}")
        browser.keys(Keys.ENTER)
        check(browser.focused()[1] == "main", f"the skip link leads to {browser.focused()}")
        browser.open()
        browser.heading("Overview")
        browser.tab_to("Users")
        browser.keys(Keys.ENTER)
        browser.heading("Users")
        eventually("the heading has the focus", lambda: browser.focused()[0] == "H1")
        browser.tab_to("Find a user")
        browser.keys("ada@")
        browser.row("Users", "Ada", "active")
        browser.tab_to("Suspend Ada")
        browser.keys(Keys.ENTER)
        browser.says("dialog h2", "Suspend Ada?")
        check(browser.focused()[2] == "Cancel", f"a dangerous question begins at {browser.focused()}")
        browser.keys(Keys.ESCAPE)
        eventually("Escape closes the question", lambda: not browser.all("dialog"))
        check(browser.focused()[2].startswith("Suspend"), f"after Escape the focus is at {browser.focused()}")
        browser.row("Users", "Ada", "active")
        ok("every view and question is reached by the keyboard, and Escape does nothing")

    def nothing_secret_is_kept(self):
        kept = self.browser.script("return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, document.documentElement.outerHTML])")
        check(ADMIN_TOKEN not in kept, "the admin token is kept")
        cookie = next((one for one in self.browser.driver.get_cookies() if one["name"] == "vestibule_console"), None)
        check(cookie is not None, "there is no session cookie")
        check(cookie["httpOnly"] and cookie["sameSite"] == "Strict", f"the session cookie: {cookie}")
        check(cookie["value"] not in kept, "script can read the session")
        self.browser.open()
        self.browser.heading("Overview")
        ok("the admin token is kept nowhere, script cannot read the cookie, and a reload stays signed in")

    # Looking.

    def numbers_move(self):
        browser = self.browser
        browser.view("#/overview")
        browser.heading("Overview")
        number = lambda at: float(browser.script("return document.querySelectorAll('.latest')[arguments[0]].innerText", at).split()[0].replace(",", "").replace("–", "0"))
        eventually("accepted requests are seen", lambda: number(0) > 1)
        eventually("refused requests are seen", lambda: number(1) > 0.1)
        ok(f"under load: {number(0):g} accepted and {number(1):g} refused a second")
        before = {row[0]: row for row in browser.rows("Refusals by reason")}
        check("expired" in before and "bad signature" in before, f"reasons: {list(before)}")
        eventually("the refusals by reason move", lambda: {row[0]: row for row in browser.rows("Refusals by reason")}["expired"][3] != before["expired"][3])
        ok(f"refusals by reason move: {', '.join(sorted(before))}")
        eventually("the time to decide is seen", lambda: browser.texts(".latest")[2].endswith("s"))
        eventually("the share found in the cache is seen", lambda: "%" in browser.texts(".latest")[3])
        waited = browser.row("Time to decide by", "All")
        check(all(cell.endswith("s") for cell in waited[2:]), f"time to decide: {waited}")
        ok(f"time to decide (p50, p95, p99: {', '.join(waited[2:])}) and share found in the cache ({browser.texts('.latest')[3]})")
        issuer = browser.row("Issuers", "usable")
        check(issuer[0] == self.world.provider and issuer[1] == "1" and ("ago" in issuer[2] or issuer[2] == "now"), f"issuers: {issuer}")
        browser.row("Calls to the provider", "jwks")
        browser.says(".state", "ready")
        ok("the provider's health and the age of its keys are shown")
        lines = browser.script("return [...document.querySelectorAll('svg.picture')].map((one) => [one.getAttribute('aria-label'), one.querySelectorAll('path.line').length])")
        check(len(lines) == 4 and all(label and paths for label, paths in lines), f"charts: {lines}")
        browser.all("details summary")[0].click()
        eventually("a chart as a table", lambda: len(browser.rows("Accepted, every ten")) > 0)
        browser.all("details summary")[0].click()
        ok("every chart has words and a table of the same")

    # Doing.

    def user_is_suspended(self):
        browser, world = self.browser, self.world
        token = world.token("user_alan")
        check(world.ask(token) == (200, None), "Alan is not let in")
        browser.view("#/users")
        browser.heading("Users")
        browser.write("Find a user", "ala")
        eventually("one user is found", lambda: [row[0] for row in browser.rows("Users")] == ["Alan"])
        check("search=ala" in browser.driver.current_url, f"the search is not in the address: {browser.driver.current_url}")
        browser.row("Users", "Alan", "alan@acme.example", "Acme", "active")
        ok("a user is found by the beginning of the name")
        browser.click("Suspend Alan")
        browser.says("dialog", "alan@acme.example")
        browser.click("Suspend", "dialog button")
        browser.row("Users", "Alan", "suspended")
        browser.says("#note", "Alan is suspended.")
        eventually("Alan is refused", lambda: world.ask(token) == (403, "user_suspended"), WITHIN)
        ok("a user is suspended, and the next request with his token is refused: 403 user_suspended")
        return token

    def refusal_is_listed_and_explained(self):
        browser = self.browser
        browser.view("#/refusals")
        browser.heading("Refusals")
        row = browser.row("Refusals", "user suspended", "403")
        eventually("names are shown", lambda: browser.row("Refusals", "user suspended", "Alan", "Acme"))
        ok(f"the refusal is listed: {row[2]}")
        before = browser.rows("Refusals")[0]
        eventually("refusals come in", lambda: browser.rows("Refusals")[0] != before)
        browser.choose("Reason", "user suspended")
        eventually("the filter filters", lambda: {row[1].split("\n")[0] for row in browser.rows("Refusals")} == {"user suspended"})
        browser.click("user suspended explain")
        browser.heading("Explain")
        browser.says(".verdict", "user_suspended")
        self.refused_at("Caller")
        browser.says(".remedy", "What would have to change")
        ok("a click explains it, step by step")

    def user_is_resumed_and_revoked(self, token):
        browser, world = self.browser, self.world
        browser.view("#/users?search=ala")
        browser.click("Resume Alan")
        browser.click("Resume", "dialog button")
        browser.row("Users", "Alan", "active")
        eventually("Alan is let in again", lambda: world.ask(token) == (200, None), WITHIN)
        ok("resumed, he is let in again")
        browser.click("Alan")
        browser.heading("Alan")
        # What is revoked was issued in an earlier second.
        time.sleep(1.1)
        browser.click("Revoke tokens")
        browser.says("dialog h2", "Revoke the tokens of Alan?")
        browser.click("Revoke tokens", "dialog button")
        browser.says("#note", "revoked")
        eventually("the token is refused", lambda: world.ask(token) == (401, "invalid_token"), WITHIN)
        time.sleep(1.1)
        check(world.ask(world.token("user_alan")) == (200, None), "Alan cannot sign in again")
        browser.view("#/revocations")
        browser.row("Revocations", "user", "Alan")
        ok("his tokens are revoked, a new one is good, and the revocation is listed")
        one = world.token("user_grace")
        check(world.ask(one) == (200, None), "Grace is not let in")
        browser.choose("What", "One token")
        browser.write("Token", one)
        browser.click("Revoke…")
        browser.says("dialog", "user_grace")
        check(browser.script("return document.querySelector('textarea').value") == "", "the token stays in its field")
        browser.click("Revoke", "dialog button")
        browser.row("Revocations", "token")
        eventually("the token is refused", lambda: world.ask(one) == (401, "invalid_token"), WITHIN)
        ok("one token is revoked by itself")

    def token_is_explained(self):
        browser = self.browser
        browser.view("#/explain")
        browser.heading("Explain")
        eventually("the former explanation is gone", lambda: not browser.all(".verdict"))
        good, bad = self.world.token("user_ada"), self.world.token("user_ada", expiresIn=-3600)
        browser.write("Token or request id", f"Bearer {good}")
        browser.click("Explain", "form button")
        browser.says(".verdict", "Accepted")
        browser.says("[aria-labelledby=caller]", "Ada")
        browser.write("Token or request id", bad)
        browser.click("Explain", "form button")
        browser.says(".verdict", "Refused: expired")
        browser.says(".verdict", "token_expired")
        check(browser.script("return document.querySelector('textarea').value") == "", "the token stays in its field")
        everything = browser.script("return document.documentElement.outerHTML + location.href + JSON.stringify({ ...sessionStorage })")
        check(bad not in everything and bad.split(".")[2] not in everything, "the page shows the token")
        said = self.refused_at("Claims")
        check(said.get("Expected") and said.get("Found"), f"the step says {said}")
        browser.says(".claims", "EdDSA")
        if self.pictures:
            # The step that refused, not the form above.
            browser.script("document.querySelector('.verdict').scrollIntoView()")
        self.picture("explain")
        ok(f"a token is explained: expected {said['Expected']}; found {said['Found']}")
        browser.write("Token or request id", "01234567-89ab-7def-8123-456789abcdef")
        browser.click("Explain", "form button")
        browser.says(".result", "This request is not remembered.")
        self.clean("/admin/v1/explain - Failed to load resource: the server responded with a status of 404")
        ok("a request that is not remembered is said to be none")

    def account_and_its_activity(self):
        browser = self.browser
        browser.view("#/accounts")
        browser.heading("Accounts")
        browser.write("Find an account", "CM")
        eventually("one account is found", lambda: [row[0] for row in browser.rows("Accounts")] == ["Acme"])
        browser.click("Acme")
        browser.heading("Acme")
        browser.row("Users", "Ada")
        browser.row("Service clients", "Acme's robot", "sc_robot01")
        browser.row("Activity", "signed in", "Ada")
        browser.row("Activity", "refused", "Alan", "user suspended")
        self.picture("account")
        ok("an account is found, with its users, service clients and activity")

    def account_is_made_and_changed(self):
        browser = self.browser
        browser.view("#/accounts")
        browser.click("New account")
        browser.write("Name", "Initech")
        browser.write("Authress tenant", "tenant_initech")
        browser.click("Create account", "dialog button")
        browser.heading("Initech")
        browser.click("Rename")
        browser.write("Name", "Initrode <b>&amp;")
        browser.click("Rename", "dialog button")
        browser.heading("Initrode <b>&amp;")
        browser.click("Suspend")
        browser.click("Suspend", "dialog button")
        browser.says(".facts", "suspended")
        check(self.world.command("account", "show", browser.driver.current_url.split("/")[-1])["status"] == "suspended", "the account is active")
        browser.click("Resume")
        browser.click("Resume", "dialog button")
        browser.says(".facts", "active")
        ok("an account is made, renamed, suspended and resumed; markup in a name is text")

    # All views.

    def views(self):
        """Each view's name, and how to get there."""
        browser = self.browser
        account = next(one for one in self.world.command("account", "list")["items"] if one["name"] == "Acme")["id"]
        users = self.world.command("user", "list", "--account", account)["items"]
        yield "overview", lambda: (browser.view("#/overview"), browser.row("Issuers", "usable"), browser.script("document.querySelector('details').open = true"))
        yield "accounts", lambda: (browser.view("#/accounts"), browser.row("Accounts", "Acme"))
        yield "account", lambda: (browser.view(f"#/accounts/{account}"), browser.row("Activity", "signed in"))
        yield "users", lambda: (browser.view("#/users"), browser.row("Users", "Alan"))
        yield "user", lambda: (browser.view(f"#/users/{users[0]['id']}"), browser.find("Change role"))
        yield "question", lambda: (browser.click("Suspend"), browser.find("Cancel"))
        yield "form", lambda: (browser.click("Cancel"), browser.click("Change role"), browser.find("Role", "input"))
        yield "refusals", lambda: (browser.click("Cancel"), browser.view("#/refusals"), browser.row("Refusals", "expired"))
        yield "revocations", lambda: (browser.view("#/revocations"), browser.row("Revocations", "user"))
        yield "explain", lambda: (
            browser.view("#/explain"),
            browser.write("Token or request id", self.world.token("user_ada", expiresIn=-60)),
            browser.click("Explain", "form button"),
            browser.says(".verdict", "expired"),
        )
        yield "nowhere", lambda: (browser.view("#/nowhere"), browser.heading("There is no such view"))

    def accessible(self):
        browser = self.browser
        for name, go in self.views():
            go()
            for scheme in ("light", "dark"):
                browser.scheme(scheme)
                browser.settle()
                found = browser.violations()
                check(not found, f"{name} in {scheme}: {found}")
            browser.scheme("light")
            ok(f"axe finds nothing in {name}, in light and in dark")

    def narrow(self):
        browser = self.browser
        browser.size(360, 740)
        for name, go in self.views():
            go()
            browser.settle()
            check(browser.overflow() <= 0, f"{name} is {browser.overflow()} pixels too wide for 360")
            found = browser.violations()
            check(not found, f"{name} at 360 pixels: {found}")
        browser.size(WIDTH, HEIGHT)
        ok("every view fits into 360 pixels, and axe finds nothing there")

    def sign_in_is_accessible(self):
        browser = self.browser
        browser.click("Sign out")
        browser.says("[role=alert]", "You are signed out.")
        check(not browser.script("return sessionStorage.length"), "something is kept of the session")
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            browser.settle()
            found = browser.violations()
            check(not found, f"sign-in in {scheme}: {found}")
        browser.scheme("light")
        ok("signed out; axe finds nothing in the sign-in, in light and in dark")

    def reader_sees_only(self):
        browser = self.browser
        self.sign_in(READER_TOKEN)
        browser.heading("Overview")
        browser.says("#who", "watcher (read)")
        offered = lambda: {text for text in browser.texts("main button") if text} - {"Copy", "Show more"}
        for name, address, caption in (("Users", "#/users", "Users"), ("Accounts", "#/accounts", "Accounts"), ("Revocations", "#/revocations", "Revocations")):
            browser.view(address)
            browser.heading(name)
            browser.row(caption, "")
            check(not offered(), f"a reader is offered {offered()}")
        browser.view("#/users?search=ada")
        browser.click("Ada")
        browser.heading("Ada")
        browser.says(".facts", "ada@acme.example")
        check(not offered(), f"a reader is offered {offered()}")
        browser.view("#/overview")
        browser.heading("Overview")
        browser.click("Sign out")
        browser.says("[role=alert]", "You are signed out.")
        ok("a token that may only read sees everything, and is offered nothing else")

    # What goes wrong.

    def session_ends(self):
        browser = self.browser
        self.sign_in()
        browser.heading("Overview")
        browser.driver.delete_all_cookies()
        browser.says("[role=alert]", "Your session is over.", within=30)
        self.clean("status of 401")
        ok("a session that ended leads to the sign-in, and words say why")

    def server_goes_and_comes(self):
        browser = self.browser
        self.sign_in()
        browser.heading("Overview")
        self.world.end_server()
        browser.says("#banner", "The server cannot be reached.", within=30)
        self.world.start()
        eventually("the banner goes", lambda: browser.text("#banner") == "", 30)
        # Sessions end with the server that made them.
        browser.heading("Sign in to Vestibule")
        self.sign_in()
        browser.heading("Overview")
        self.clean("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "status of 401", "status of 503")
        ok("a server out of reach is said to be so, and the console goes on once it is back")

    def nothing_else_happened(self):
        check(not self.browser.stopped(), f"the security policy stopped {self.browser.stopped()}")
        strangers = self.browser.strangers()
        check(not strangers, f"requests went elsewhere: {strangers}")
        ok("no error in the browser's log, nothing stopped by the security policy, no request to another origin")

    def overview_pictures(self):
        if not self.pictures:
            return
        browser = self.browser
        browser.view("#/overview")
        say(f"the charts fill within {WATCHED:.0f} s")
        time.sleep(WATCHED)
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            browser.settle(2.5)
            self.picture(f"overview-{scheme}")
        browser.scheme("light")

    def run(self):
        self.a_wrong_token_is_refused_in_words()
        self.keyboard_alone()
        self.nothing_secret_is_kept()
        with Load(self.world):
            self.numbers_move()
            token = self.user_is_suspended()
            self.refusal_is_listed_and_explained()
            self.user_is_resumed_and_revoked(token)
            self.token_is_explained()
            self.account_and_its_activity()
            self.account_is_made_and_changed()
            self.clean()
            self.accessible()
            self.narrow()
            self.clean()
            self.overview_pictures()
            self.sign_in_is_accessible()
            self.reader_sees_only()
            self.session_ends()
            self.server_goes_and_comes()
        self.nothing_else_happened()


def main():
    binaries, work = Path(sys.argv[1]), Path(sys.argv[2])
    chromium, chromedriver, axe = sys.argv[3], sys.argv[4], Path(sys.argv[5])
    pictures = Path(sys.argv[6]) if len(sys.argv) > 6 else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    world = browser = None
    try:
        world = World(binaries, work)
        browser = Browser(chromium, chromedriver, axe, world.admin, work)
        say("the servers and Chromium are up")
        Console(world, browser, pictures).run()
        print(f"console: {passed} checks passed")
    except (Failed, WebDriverException) as failed:
        if browser:
            browser.save(work / "failed.png")
            print(f"the browser's log: {browser.logged()}", file=sys.stderr)
        print(f"FAIL {failed}", file=sys.stderr)
        sys.exit(1)
    finally:
        if browser:
            browser.quit()
        if world:
            world.stop()


if __name__ == "__main__":
    main()
