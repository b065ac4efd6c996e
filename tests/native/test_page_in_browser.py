"""The page in headless Chromium, on the real server with an engine that writes as fast as a test lets it."""

from __future__ import annotations

import json
import time

import pytest

pytest.importorskip("selenium", reason="selenium is not installed")

from browsing import CHROMIUM, DRIVER, LONG, Listening, chromium
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from avengers_edge.errors import DoesNotFit, EngineDied

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
]

SUM = "How many apples are 2 and 3 apples?"
VOTES = ("It is 5.\n\nAnswer: 5", "I think\n\nAnswer: 6", "So **five**.\n\nAnswer: 5")
STORY = "Once upon a time there was a *cat*"
KEY = "a-key-of-sixteen-letters"
EVIL = (
    '<img src=x onerror="window.pwned=1"> <script>window.pwned=1</script> [a](javascript:window.pwned=1) '
    "<svg/onload=window.pwned=1> ![i](javascript:window.pwned=1)\n\n```html\n<script>window.pwned=1</script>\n```\n"
    "| <b>x</b> |\n|---|\n| <iframe src=javascript:window.pwned=1> |"
)


class Page:
    """What a person does with the page and sees of it."""

    def __init__(self, browser, server):
        self.browser, self.server = browser, server

    def js(self, code, *arguments):
        return self.browser.execute_script(f"return {code}", *arguments)

    def until(self, code, *arguments):
        """Wait until a JavaScript expression holds, and give its value."""
        for _ in range(LONG * 20):
            if value := self.js(code, *arguments):
                return value
            time.sleep(0.05)
        state = self.js("[document.visibilityState, document.body.innerText.slice(0, 600)]")
        pytest.fail(f"never: {code}; the page: {state}; requests: {len(self.server.engine.requests)}")

    def load(self, address=None):
        self.browser.get(address or self.server.address)
        self.until("document.documentElement.dataset.theme")

    def fresh(self, **settings):
        """Open the page as if for the first time, with some settings."""
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        # Of this origin, and without a script that keeps its own settings meanwhile.
        self.browser.get(f"{self.server.address}health")
        self.browser.execute_script(
            "sessionStorage.clear(); sessionStorage.setItem('avengers.settings', arguments[0])", json.dumps(settings)
        )
        self.load()
        self.until("document.querySelectorAll('#model option').length > 1")
        assert self.server.engine.rests.wait(LONG)  # what an earlier page asked takes no step of this one

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector):
        """Click on something, scrolled to where nothing lies over it."""
        found = self.find(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        found.click()

    def shown(self, selector):
        return self.js("[...document.querySelectorAll(arguments[0])].some((e) => e.checkVisibility())", selector)

    def text(self, selector=".turn:last-child .answer > .text"):
        return self.js("document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def ask(self, text):
        self.find("#question").send_keys(text + Keys.ENTER)

    def press(self, *keys):
        """Press keys wherever the focus is, the first ones held."""
        *held, last = keys
        chain = ActionChains(self.browser)
        for key in held:
            chain.key_down(key)
        chain.send_keys(last)
        for key in held:
            chain.key_up(key)
        chain.perform()

    def settled(self, turns=1, state="done"):
        """Wait until there are so many turns, and the last one is done."""
        self.until(
            "document.querySelectorAll('.turn').length === arguments[0] && "
            "document.querySelector('.turn:last-child').dataset.state === arguments[1]",
            turns,
            state,
        )

    def focused(self):
        return self.js("document.activeElement.id")


@pytest.fixture(scope="module")
def server():
    listening = Listening()
    yield listening
    listening.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def page(browser, server):
    server.engine.run()
    server.engine.texts[:], server.engine.error = VOTES, None
    server.engine.requests.clear()
    page = Page(browser, server)
    page.fresh()
    browser.get_log("browser")
    yield page
    said = [each["message"] for each in browser.get_log("browser")]
    assert [line for line in said if "Failed to load resource" not in line and "ERR_" not in line] == []


def test_what_is_written_is_shown_as_it_comes_and_then_said_once(page):
    page.server.engine.texts[:] = [STORY]
    page.server.engine.slow = True
    page.ask("Tell me a story.")
    page.server.engine.step(3)
    page.until("document.querySelector('.answer > .text').innerText === 'Once upon a'")
    assert page.shown("#stop") and not page.shown("#send")
    assert page.text("#announcer") == ""
    page.server.engine.run()
    page.settled()
    assert page.text() == "Once upon a time there was a cat"
    assert page.js("document.querySelector('.answer em').textContent") == "cat"
    assert page.js("document.querySelector('#announcer').textContent.trim()").endswith("there was a cat")
    assert page.shown("#send") and not page.shown("#stop")
    assert "big · 1 sample" in page.text("[data-line]")


def test_a_vote_shows_its_leader_while_it_runs_and_its_bars_afterwards(page):
    page.server.engine.slow = True
    page.ask(SUM)
    page.server.engine.step(len(VOTES[0].split(" ")))
    page.until("document.querySelector('[data-doing]').innerText === 'big is voting: 1 of 3 samples'")
    assert page.text("[data-leader]") == "Leading: 5 with 1 vote"
    assert page.js("document.querySelector('progress').value") == 1
    page.server.engine.run()
    page.settled()
    assert "2 of 3 votes · 3 of 3 samples" in page.text("[data-line]")
    assert not page.shown("[data-panel]")
    page.click("[data-why] > summary")
    page.until("document.querySelectorAll('[data-panel] .bars li').length === 4")
    votes, ranking = page.js(
        "[...document.querySelectorAll('.bars')].map((bars) => [...bars.children].map((e) => "
        "[e.innerText.split('\\n'), e.querySelector('.bar').style.getPropertyValue('--share')]))"
    )
    assert votes == [[["5", "2 votes"], "0.6667"], [["6", "1 vote"], "0.3333"]]
    assert ranking == [[["big", "0.80"], "0.8000"], [["small", "0.40"], "0.4000"]]
    assert "cluster 1, similarity 0.50, lead 0.40" in page.text("[data-panel]")
    widths = page.js("getComputedStyle(document.querySelector('.bar')).backgroundSize")
    assert widths.startswith("66.67%")


def test_all_samples_are_there_on_demand(page):
    page.ask(SUM)
    page.settled()
    page.click("[data-why] > summary")
    page.until("document.querySelector('.samples')")
    assert page.js("document.querySelectorAll('.sample').length") == 0
    page.click(".samples > summary")
    page.until("document.querySelectorAll('.sample').length === 3")
    page.js("document.querySelectorAll('.sample > summary')[1].click()")
    page.until("document.querySelectorAll('.sample .text')[1].innerText.startsWith('I think')")
    summary = page.js("document.querySelectorAll('.sample > summary')[1].innerText")
    assert summary.startswith("Sample 2 · votes 6 · ")


def test_the_first_sample_is_shown_where_that_is_wanted_and_the_vote_has_the_last_word(page):
    page.fresh(first=True)
    page.server.engine.texts[:] = VOTES[1], VOTES[0], VOTES[2]
    page.server.engine.slow = True
    page.ask(SUM)
    page.server.engine.step(2)
    page.until("document.querySelector('.answer > .text').innerText.startsWith('I think')")
    page.server.engine.run()
    page.settled()
    assert "Answer: 5" in page.text()


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stopping_calls_the_work_off_and_keeps_what_came(page, how):
    page.server.engine.texts[:] = [STORY]
    page.server.engine.slow = True
    page.ask("Tell me a story.")
    page.server.engine.step(2)
    page.until("document.querySelector('.answer > .text').innerText === 'Once upon'")
    page.click("#stop") if how == "button" else page.press(Keys.ESCAPE)
    page.settled(state="stopped")
    assert page.server.engine.called_off.wait(LONG)
    assert page.text() == "Once upon"
    assert "Stopped" in page.text("[data-note]")
    assert page.focused() == "question"
    page.server.engine.run()
    page.ask("And then?")
    page.settled(2)
    said = [each.content for each in page.server.engine.requests[-1].messages]
    assert said == ["Tell me a story.", "Once upon", "And then?"]


def test_an_answer_is_made_again_and_kept_where_that_fails(page):
    page.server.engine.texts[:] = ["first try"]
    page.ask("Tell me a story.")
    page.settled()
    page.server.engine.texts[:] = ["second try"]
    page.click("[data-again]")
    page.until("document.querySelector('.answer > .text').innerText === 'second try'")
    page.settled()
    assert page.server.engine.requests[-1].messages == page.server.engine.requests[0].messages
    page.server.engine.error = EngineDied("the worker is gone")
    page.press(Keys.ALT, "r")
    page.settled(state="failed")
    assert page.text() == "second try"
    assert "kept" in page.text("[data-note]")


def test_the_last_question_can_be_edited(page):
    page.server.engine.texts[:] = ["an answer"]
    page.ask("Who is it?")
    page.settled()
    page.ask("Was?")
    page.settled(2)
    page.press(Keys.ARROW_UP)
    assert page.js("document.querySelector('#question').value") == "Was?"
    assert page.shown("#editing")
    page.press(Keys.ESCAPE)
    assert page.js("document.querySelector('#question').value") == "" and not page.shown("#editing")
    page.click(".turn:last-child [data-edit]")
    page.find("#question").send_keys(Keys.BACKSPACE + " it?" + Keys.ENTER)
    page.until("document.querySelector('.turn:last-child [data-question]')?.innerText === 'Was it?'")
    page.settled(2)
    said = [each.content for each in page.server.engine.requests[-1].messages]
    assert said == ["Who is it?", "an answer", "Was it?"]


def test_a_chat_outlives_a_reload_and_a_new_one_can_be_taken_back(page):
    page.server.engine.texts[:] = [STORY]
    page.ask("Tell me a story.")
    page.settled()
    page.load()
    page.settled()
    assert page.text().startswith("Once upon")
    page.press(Keys.ALT, "n")
    assert page.js("document.querySelectorAll('.turn').length") == 0
    assert page.shown("#welcome") and page.focused() == "question"
    assert page.js("localStorage.length") == 0
    page.click("#back")
    page.settled()
    assert not page.shown("#welcome")


def test_what_is_set_is_sent(page):
    page.press(Keys.ALT, "o")
    page.until("document.querySelector('#settings').open")
    page.find("#samples").send_keys("5")
    page.find("#system").send_keys("Be brief.")
    page.find("#tokens").send_keys("77")
    page.find("#prefer").send_keys(Keys.ARROW_LEFT * 3)
    assert page.text("#prefer-value") == "accuracy 0.7"
    page.press(Keys.ESCAPE)
    assert page.text("#chosen") == "5 samples · accuracy 0.7 · system prompt"
    page.ask(SUM)
    page.settled()
    (request,) = page.server.engine.requests
    assert (request.n, request.sampling.max_tokens, request.messages[0].content) == (5, 77, "Be brief.")
    assert "of 5 samples" in page.text("[data-line]")


def test_a_model_is_chosen_by_name_and_embedders_are_not_offered(page):
    offered = page.js("[...document.querySelectorAll('#model option')].map((e) => e.value)")
    assert offered == ["avengers", "avengers/other", "avengers/pair", "big", "small", "third"]
    page.find("#model").send_keys("small")
    page.ask(SUM)
    page.settled()
    assert page.server.served.leased[-1] == "small"
    page.click("[data-why] > summary")
    page.until("document.querySelector('[data-panel]').innerText.includes('nothing was compared')")


def test_text_of_a_model_is_never_markup(page):
    page.server.engine.texts[:] = [EVIL]
    page.ask("Be evil. " + EVIL.replace("\n", " "))
    page.settled()
    assert page.js("window.pwned ?? null") is None
    assert page.js("document.querySelectorAll('.turn :is(img, script, iframe, b, [onload])').length") == 0
    assert page.js("[...document.querySelectorAll('.turn a')].map((e) => e.href)") == []
    assert "<script>window.pwned=1</script>" in page.text()
    with pytest.raises(Exception, match="TrustedHTML"):
        page.js("document.body.innerHTML = '<b>x</b>'")
    page.browser.get_log("browser")  # has that too


@pytest.mark.parametrize(
    ("error", "words", "button"),
    [
        (EngineDied("the worker died of signal 9"), "The worker died of signal 9.", "Try again"),
        (DoesNotFit("the prompt has 9000 tokens and 4096 fit"), "Start a new chat", "New chat"),
        (KeyError("secret"), "its log says why", "Try again"),
    ],
)
def test_an_error_is_told_in_words_with_what_to_do(page, error, words, button):
    page.server.engine.error = error
    page.ask("Tell me a story.")
    page.settled(state="failed")
    assert words in page.text("[data-problem]") and "secret" not in page.text("[data-problem]")
    assert page.js("document.querySelector('[data-problem]').role") == "alert"
    assert page.text("[data-problem] button") == button
    page.server.engine.error = None
    page.click("[data-problem] button")
    if button == "Try again":
        page.settled()
    else:
        page.until("document.querySelectorAll('.turn').length === 0")


def test_an_answer_that_was_cut_says_so(page):
    page.server.engine.texts[:] = ["CUT in the"]
    page.ask("Tell me a story.")
    page.settled()
    assert "token limit" in page.text("[data-note]")


def test_everything_can_be_done_from_the_keyboard(page):
    page.browser.execute_script("document.querySelector('.skip').focus()")
    assert page.js("document.querySelector('.skip').getBoundingClientRect().top") > 0
    page.press(Keys.ENTER)
    assert page.focused() == "question"
    page.press(*"How many apples are 2 and 3?")
    page.press(Keys.SHIFT, Keys.ENTER)
    page.press(Keys.ENTER)
    page.settled()
    assert page.text("[data-question]") == "How many apples are 2 and 3?"
    page.press(Keys.ALT, "y")
    page.until("document.querySelectorAll('[data-panel] .bars li').length === 4")
    assert page.js("document.activeElement.tagName") == "SUMMARY"
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(Keys.ENTER)
    page.until("!document.querySelector('[data-why]').open")
    reached = set()
    for _ in range(20):
        page.press(Keys.TAB)
        reached.add(page.js("document.activeElement.id || document.activeElement.innerText"))
    assert {"Copy", "Again", "question", "model", "new-chat", "open-settings", "open-keyboard", "theme"} <= reached
    page.press(Keys.ALT, "k")
    page.until("document.querySelector('#keyboard').open")
    page.press(Keys.ESCAPE)
    page.until("!document.querySelector('#keyboard').open")


def test_everything_that_can_be_used_has_a_name(page):
    page.ask(SUM)
    page.settled()
    page.click("[data-why] > summary")
    for opened in ("", "#settings", "#keyboard", "#key-dialog"):
        if opened:
            page.js(f"document.querySelector('{opened}').showModal()")
        inside = page.browser.find_elements(By.CSS_SELECTOR, f"{opened} :is(button, input, select, textarea, summary)")
        named = [(each.accessible_name, each.get_attribute("outerHTML")) for each in inside if each.is_displayed()]
        assert named and [html for name, html in named if not name.strip()] == []
        if opened:
            page.js(f"document.querySelector('{opened}').close()")
    roles = {each: page.find(each).aria_role for each in ("header", "main", "nav", "#composer", "#announcer", "#turns")}
    assert roles == {
        "header": "banner",
        "main": "main",
        "nav": "navigation",
        "#composer": "form",
        "#announcer": "status",
        "#turns": "region",
    }


@pytest.mark.parametrize("width", [320, 360, 768])
def test_nothing_sticks_out_of_a_narrow_window(page, width):
    size = {"width": width, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        long = "averyveryverylongword" * 9
        page.server.engine.texts[:] = [
            f"{long}\n\n- {long}\n\n```\n{long}\n```\n\n| {long} | b |\n|---|---|\n| {long} | c |\n\n"
            f"\\[ {'x + ' * 60} y \\]"
        ]
        page.ask(f"{long} {'word ' * 40}")
        page.settled()
        page.click("[data-why] > summary")
        for opened in ("", "#settings", "#keyboard"):
            if opened:
                page.js(f"document.querySelector('{opened}').showModal()")
            seen = "document.querySelector(arguments[0] || 'html')"
            assert page.js(f"{seen}.scrollWidth - {seen}.clientWidth", opened) == 0
            if opened:
                page.js(f"document.querySelector('{opened}').close()")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_colours_follow_the_system_until_the_button_says_otherwise(page):
    def paper(scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        return page.js("getComputedStyle(document.body).backgroundColor")

    light, dark = paper("light"), paper("dark")
    assert light != dark
    for name, colour in (("light", light), ("dark", dark)):
        page.click("#theme")
        assert page.find("#theme").accessible_name == f"Colours: {name}"
        assert paper("light") == paper("dark") == colour
    page.load()
    assert paper("light") == dark


def test_motion_is_left_out_where_less_of_it_is_wanted(page):
    features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.server.engine.slow = True
    page.ask(SUM)
    assert page.until("getComputedStyle(document.querySelector('.pulse')).animationName") == "none"
    page.server.engine.run()
    page.settled()


def test_code_is_copied_as_it_was_written(page):
    page.server.engine.texts[:] = ["```python\nprint('a < b')  # c\n```"]
    page.browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.ask("Write code.")
    page.settled()
    assert page.js("document.querySelector('.hl-string').textContent") == "'a < b'"
    page.click(".code button")
    page.until("document.querySelector('.code button').innerText === 'Copied'")
    read = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    assert page.browser.execute_async_script(read) == "print('a < b')  # c"
    page.press(Keys.ALT, "c")
    page.until("document.querySelector('[data-copy]').innerText === 'Copied'")
    assert page.browser.execute_async_script(read).startswith("```python")


def test_a_long_answer_is_read_from_its_question_on_and_a_reader_who_went_back_is_left_there(page):
    page.server.engine.texts[:] = ["\n\n".join(["a paragraph"] * 60)]
    page.ask("First?")
    page.settled()
    page.ask("Second?")
    page.settled(2)
    top = "document.querySelector('.turn:last-child').getBoundingClientRect().top"
    assert 0 < page.js(top) < 120
    page.press(Keys.PAGE_DOWN)
    page.until(f"{top} < 0")
    page.browser.execute_script("scrollTo(0, 0)")
    page.server.engine.slow = True
    page.find("#question").send_keys("Third?" + Keys.ENTER)
    page.until("document.querySelectorAll('.turn').length === 3")
    page.browser.execute_script("scrollTo(0, 0)")
    page.server.engine.run()
    page.settled(3)
    assert page.js("scrollY") == 0


def test_a_server_with_a_key_is_asked_with_it_and_the_key_stays_in_the_tab(browser):
    server = Listening("hello there", api_key=KEY)
    try:
        page = Page(browser, server)
        page.load()
        page.until("document.querySelector('#key-dialog').open")
        assert page.find("#key-dialog").accessible_name == "This server asks for a key"
        page.find("#key").send_keys("wrong-key-wrong-key" + Keys.ENTER)
        page.until("document.querySelector('#key-title').innerText === 'That key is not the right one'")
        page.find("#key").send_keys(KEY + Keys.ENTER)
        page.until("document.querySelectorAll('#model option').length > 1")
        page.ask("Tell me a story.")
        page.settled()
        assert page.text() == "hello there"
        assert page.js("Object.entries(localStorage).length + document.cookie.length") == 0
        assert KEY not in page.js("document.documentElement.outerHTML")
    finally:
        server.stop()


def test_a_server_that_is_gone_is_missed_and_found_again(browser):
    server = Listening("hello there")
    page = Page(browser, server)
    try:
        page.fresh()
        server.engine.slow = True
        page.ask("Tell me a story.")
        server.engine.step()
        page.until("document.querySelector('.answer > .text').innerText === 'hello'")
        server.cut()
        page.settled(state="failed")
        assert "broke" in page.text("[data-problem]")
        assert page.text() == "hello"
        server.stop()
        page.find("#question").send_keys("Anybody?" + Keys.ENTER)
        page.settled(2, state="failed")
        assert "cannot be reached" in page.text(".turn:last-child [data-problem]")
        page.until("document.querySelector('#notice').innerText.includes('cannot be reached')")
        server.start()
        page.until("document.querySelector('#notice').hidden")
        page.click(".turn:last-child [data-problem] button")
        page.settled(2)
        assert page.text() == "hello there"
    finally:
        server.stop()


def test_models_that_are_loading_are_waited_for(browser):
    server = Listening("hello there", ready=False)
    try:
        page = Page(browser, server)
        page.load()
        page.until("document.querySelector('#notice').innerText.includes('loading')")
        assert page.js("document.querySelector('#notice').role") == "status"
        server.ready.set()
        page.until("document.querySelector('#notice').hidden")
    finally:
        server.stop()
