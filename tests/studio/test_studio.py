"""The studio: its server in this process, and the command itself, driven by a real browser."""

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
from base64 import b64decode
from contextlib import contextmanager
from graphlib import TopologicalSorter
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from browser import open_browser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from starlette.testclient import TestClient
from strategies import specs

from mnistcompose import DigitSource, draw, load_digits, load_spec, spec_names
from mnistcompose.cli import cli, main
from mnistcompose.cli.desktop import opened_page
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.names import read_source
from mnistcompose.layout.reading import dump_spec, parse_spec, read_fields
from mnistcompose.rendering.render import labels, render
from mnistcompose.studio.app import MAX_BODY, Draft, make_app
from mnistcompose.studio.text import revise

PORT, TOKEN = 8123, "a-secret"
HOME = f"http://127.0.0.1:{PORT}"
OURS = {"Origin": HOME, "X-Studio-Token": TOKEN}
TEXT = """\
name: mine  # as we call it
digit:
  rotation: {normal: [0, 8]}   # degrees
slots:
  # the tens
  - center: [0.0, 0.0]
  # the units
  - center: [0.8, 0.1]
"""


def studio(target=None, on_disk=None, text=TEXT):
    app = make_app(Draft("mine.yaml", text, target, target, on_disk=on_disk), PORT, TOKEN)
    return TestClient(app, base_url=HOME)


def samples(client, text=TEXT, **more):
    answer = client.post("/samples", json={"text": text, **more}, headers=OURS)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_build_command_names_the_digits_that_are_shown(tmp_path):
    digits = DigitSource(tmp_path / "my letters", skip_blank=True, labels_from=1, invert=True)
    draft = Draft("mine.yaml", TEXT, tmp_path / "mine.yaml", Path("mine.yaml"), digits)
    answer = TestClient(make_app(draft, PORT, TOKEN), base_url=HOME).get("/layout", headers=OURS).json()
    command = shlex.split(answer["command"])
    options = cli.get_command(None, "build").make_context("build", command[2:]).params  # as the command reads them
    assert (Path("mine.yaml"), digits) == (
        Path(*options["layouts"]),
        DigitSource(*(options[name] for name in ("digits", "skip_blank", "labels_from", "invert"))),
    )


# --- samples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MNIST-II-05", "MNIST-III-10"])
def test_the_samples_are_those_of_the_dataset(name):
    spec, bank = load_spec(name), load_digits("train")
    answer = samples(studio(), dump_spec(spec), seed=7, first=640)
    draws = draw(spec, "train", 640, 704, 7, bank)
    images, boxes = render(bank, spec, draws)
    assert b64decode(answer["images"]) == images.tobytes()
    assert np.allclose(answer["boxes"], boxes, atol=0.006)
    assert answer["digits"] == labels(bank, draws)[1].tolist()
    assert answer["problems"] == []


@given(spec=specs())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_form_and_a_text_say_the_same(spec):
    """What the form sends for a layout becomes a text of that layout, and back to the same fields."""
    fields = spec.model_dump(mode="json", exclude_unset=True)
    answer = samples(studio(), fields=fields)
    assert parse_spec(answer["text"]).placed == spec.placed
    assert LayoutSpec.model_validate_json(json.dumps(answer["fields"])) == parse_spec(answer["text"])


def test_a_csv_is_read_next_to_the_layout_and_stays_in_the_text(tmp_path):
    (tmp_path / "some.csv").write_text("number,use\n12,test\n")
    text = TEXT + "numbers:\n  held_out: {csv: some.csv}\n"
    app = make_app(Draft("mine.yaml", text, beside=tmp_path), PORT, TOKEN)
    client = TestClient(app, base_url=HOME)
    found = samples(client, text)
    assert found["problems"] == []
    assert found["fields"]["numbers"] == {"held_out": {"csv": "some.csv"}}
    changed = samples(client, text, fields={**found["fields"], "composite": "add"})
    assert "held_out: {csv: some.csv}" in changed["text"]
    wrong = samples(client, text + "composite: nope\n")
    assert wrong["problems"]
    assert wrong["fields"]["numbers"] == {"held_out": {"csv": "some.csv"}}
    (problem,) = samples(studio(), text)["problems"]
    assert "a CSV is read next to the file of a layout" in problem["message"]


def test_what_is_wrong_is_told_with_its_line_and_its_field():
    text = "name: x\nslots:\n  - center: [0, 0]\n    scale: -1\n    rotation: {uniform: [3, 1]}\nnoise: {gausian: 1}\n"
    problems = samples(studio(), text)["problems"]
    assert [(each["path"], each["line"]) for each in problems] == [
        (["slots", 0, "scale"], 4),
        (["slots", 0, "rotation", "uniform"], 5),
        (["noise", "gausian"], 6),
    ]
    assert problems[0]["message"] == "slots[0].scale = -1: allowed are 0.4 to 4"
    assert "did you mean 'gaussian'" in problems[2]["message"]


def test_a_form_with_a_wrong_value_gets_its_text_and_the_message():
    answer = samples(studio(), fields={**read_fields(TEXT), "composite": "sideways"})
    assert read_fields(answer["text"])["composite"] == "sideways"
    assert answer["fields"]["composite"] == "sideways"
    assert answer["problems"][0]["path"] == ["composite"]
    assert "images" not in answer


def test_a_missing_key_is_told_where_it_should_be():
    assert samples(studio(), "slots: [{}]\n")["problems"][1]["path"] == ["slots", 0, "center"]


@given(text=st.text(max_size=200) | st.sampled_from(["name: 2020-01-01", "a: .nan", "a: !!set {b}", 'a: "\\ud800"']))
@settings(max_examples=60, deadline=None)
def test_no_text_upsets_the_server(text):
    assert isinstance(samples(studio(), text)["problems"], list)


# --- the text that a form changes -----------------------------------------------------------------------------------


def test_comments_stay_where_a_form_changes_a_value():
    fields = read_fields(TEXT)
    fields["digit"]["rotation"]["normal"][1] = 9
    assert revise(TEXT, fields) == TEXT.replace("8]", "9]")
    del fields["slots"][0]
    fields["noise"] = {"gaussian": {"uniform": [0, 3]}}
    changed = revise(TEXT, fields)
    assert read_fields(changed) == fields
    assert "# as we call it" in changed
    assert "# degrees" in changed
    assert changed.endswith("noise: {gaussian: {uniform: [0, 3]}}\n")


@pytest.mark.parametrize("name", spec_names())
def test_a_text_that_says_it_already_is_not_touched(name):
    text = read_source(name)[0].decode()
    assert revise(text, read_fields(text)) == text
    assert revise(TEXT, read_fields(TEXT)) == TEXT


@given(old=specs(), new=specs())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_changed_text_says_what_the_fields_say(old, new):
    fields = new.model_dump(mode="json", exclude_unset=True)
    assert read_fields(revise(dump_spec(old), fields)) == fields


# --- saving ---------------------------------------------------------------------------------------------------------


def save(client, text=TEXT, **more):
    return client.post("/save", json={"text": text, **more}, headers=OURS)


def test_saving_writes_the_file_and_nothing_else(tmp_path):
    target = tmp_path / "mine.yaml"
    client = studio(target)
    samples(client)
    assert list(tmp_path.iterdir()) == []
    assert save(client).status_code == 200
    assert save(client, TEXT + "noise: {gaussian: 3}\n").status_code == 200
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        ("mine.yaml", TEXT + "noise: {gaussian: 3}\n")
    ]
    assert client.get("/layout", headers=OURS).json()["text"] == target.read_text()


def test_without_a_named_file_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert save(studio()).status_code == 409
    assert list(tmp_path.iterdir()) == []


def test_a_csv_that_is_not_next_to_the_saved_file_is_told(tmp_path):
    beside, target = tmp_path / "old", tmp_path / "new" / "mine.yaml"
    for folder in (beside, target.parent):
        folder.mkdir()
    (beside / "some.csv").write_text("number,use\n12,test\n")
    text = TEXT + "numbers:\n  held_out: {csv: some.csv}\n"
    app = make_app(Draft("mine.yaml", text, beside=beside, target=target), PORT, TOKEN)
    answer = save(TestClient(app, base_url=HOME), text)
    assert answer.status_code == 422
    assert "cannot be read next to the layout" in answer.text
    assert not target.exists()


def test_a_wrong_layout_is_not_saved(tmp_path):
    (tmp_path / "mine.yaml").write_text(TEXT)
    assert save(studio(tmp_path / "mine.yaml", TEXT.encode()), "name: 3\n").status_code == 422
    assert (tmp_path / "mine.yaml").read_text() == TEXT


def test_what_another_program_wrote_is_replaced_only_when_that_is_wanted(tmp_path):
    target = tmp_path / "mine.yaml"
    target.write_text("# from elsewhere\n" + TEXT)
    client = studio(target, TEXT.encode())
    assert save(client).status_code == 409
    assert target.read_text().startswith("# from elsewhere")
    assert save(client, replace=True).status_code == 200
    assert target.read_text() == TEXT


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_cannot_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot write" in save(studio(tmp_path / "mine.yaml")).json()["message"]
    tmp_path.chmod(0o700)


# --- who may ask ----------------------------------------------------------------------------------------------------

BODY = {"text": TEXT}


@pytest.mark.parametrize(
    "headers",
    [
        {**OURS, "Host": "evil.example"},
        {**OURS, "Host": f"evil.example:{PORT}"},
        {**OURS, "Host": "127.0.0.1:1"},
        {**OURS, "Host": f"localhost:{PORT}"},  # ours, but from the other one's page
        {**OURS, "Origin": "http://evil.example"},
        {**OURS, "Origin": "null"},
        {**OURS, "Origin": f"https://127.0.0.1:{PORT}"},
        {**OURS, "Origin": f"http://127.0.0.1:{PORT + 1}"},
        {"X-Studio-Token": TOKEN},
        {**OURS, "X-Studio-Token": "another"},
        {**OURS, "X-Studio-Token": ""},
        {**OURS, "X-Studio-Token": "\u00e9".encode("latin-1")},
        {"Origin": HOME},
    ],
)
@pytest.mark.parametrize("path", ["/samples", "/save"])
def test_others_are_refused(path, headers, tmp_path):
    assert studio(tmp_path / "mine.yaml").post(path, json=BODY, headers=headers).status_code == 403
    assert list(tmp_path.iterdir()) == []


def test_both_names_of_this_machine_are_ours():
    for host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}"):
        headers = {**OURS, "Host": host, "Origin": f"http://{host}"}
        assert studio().post("/samples", json=BODY, headers=headers).status_code == 200


def test_the_page_opens_with_the_token_alone():
    client = studio()
    assert client.get("/").status_code == 403
    assert client.get("/?token=another").status_code == 403
    assert client.get("/layout").status_code == 403
    assert client.get("/layout", headers={**OURS, "Origin": "http://evil.example"}).status_code == 403
    assert client.get(f"/?token={TOKEN}", headers={"Host": "evil.example"}).status_code == 403
    assert client.get(f"/?token={TOKEN}").status_code == 200


@pytest.mark.parametrize("path", [f"/?token={TOKEN}", "/", "/studio.js", "/form.js", "/nothing", "/layout"])
def test_every_answer_bears_a_strict_policy(path):
    headers = studio().get(path).headers
    assert "default-src 'none'; script-src 'self';" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


IMPORT = re.compile(r'^import .*?from "\./([\w-]+\.js)";$', re.MULTILINE | re.DOTALL)


def parts_of_the_page():
    """All that a browser loads for the page, by name, without a token except for the page itself."""
    client = studio()
    found = {"": client.get(f"/?token={TOKEN}").text}
    waiting = re.findall(r'(?:src|href)="([^"]*)"', found[""])
    while waiting:
        name = waiting.pop()
        if name not in found:
            answer = client.get(f"/{name}")
            assert answer.status_code == 200, name
            found[name] = answer.text
            waiting += IMPORT.findall(answer.text)
    return found


def test_the_page_needs_no_network():
    parts = parts_of_the_page()
    assert {"studio.css", "studio.js", "icon.svg"} <= set(parts)
    outside = re.compile(r"https?://(?!www\.w3\.org/2000/svg)|@import|import\(|<script>| style=")
    assert not [name for name, content in parts.items() if outside.search(content)]


def test_the_page_uses_each_of_its_scripts_and_their_imports_have_no_circle():
    parts = parts_of_the_page()
    scripts = {entry.name for entry in files("mnistcompose.studio.page").iterdir() if entry.name.endswith(".js")}
    assert scripts == {name for name in parts if name.endswith(".js")}
    TopologicalSorter({name: IMPORT.findall(parts[name]) for name in scripts}).prepare()
    imported = {name: re.findall(r"^import\b", parts[name], re.MULTILINE) for name in scripts}
    assert all(len(IMPORT.findall(parts[name])) == len(imported[name]) for name in scripts)


@pytest.mark.parametrize(
    "path",
    [
        "/studio.html", "/__init__.py", "/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/studio.js/../../app.py",
        "//studio.js/", "/page/studio.js", "/x.js", "/studio.js%00", "/C:/x.js",
    ],
)  # fmt: skip
def test_only_the_files_of_the_page_are_served(path):
    """Neither without a token nor with it."""
    for headers, code in (({}, 403), (OURS, 404)):
        sent: list[dict] = []

        async def send(message, sent=sent):
            sent.append(message)

        name, raw = unquote(path), path.encode()  # a client would shorten such a path before it sends it
        given = [(key.lower().encode(), value.encode()) for key, value in {"Host": HOME[7:], **headers}.items()]
        scope = {
            "type": "http", "method": "GET", "path": name, "raw_path": raw, "query_string": b"", "headers": given,
            "scheme": "http", "server": ("127.0.0.1", PORT), "root_path": "",
        }  # fmt: skip
        asyncio.run(make_app(Draft("mine.yaml", TEXT), PORT, TOKEN)(scope, None, send))
        assert sent[0]["status"] == code


def test_a_long_body_is_refused(tmp_path):
    client = studio(tmp_path / "mine.yaml")
    chunks = (b"x" * 4096 for _ in range(MAX_BODY // 4096 + 1))  # without a length
    assert client.post("/samples", content=chunks, headers=OURS).status_code == 413
    assert save(client, "#" * MAX_BODY).status_code == 413
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b"\xff", b'{"text": 3}', b'{"text": ""' + b', "a": 1}', b'{"text": "", "seed": -1}',
        b'{"text": "", "first": 1e99}', b'{"text": "", "fields": []}', b'{"text": "\\ud800"}', b"[" * 200_000,
        b'{"text": "", "fields": {"a": ' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_body_that_is_none_of_ours_is_one_line(body):
    answer = studio().post("/samples", content=body, headers=OURS)
    assert answer.status_code == 422
    assert len(answer.text.splitlines()) == 1


def test_fields_nested_deeply_are_told():
    fields: dict = {}
    for _ in range(150):
        fields = {"a": fields}
    assert samples(studio(), fields=fields)["problems"]


# --- the command ----------------------------------------------------------------------------------------------------

COMMAND = Path(sysconfig.get_path("scripts")) / "mnistcompose"


@contextmanager
def running(folder, *args):
    """The command, and the address that it prints."""
    command = [COMMAND, "studio", "--no-browser", *args]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_listens_on_this_machine_alone_and_ends_when_told(sent, code, tmp_path):
    with running(tmp_path) as (process, address):
        port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=[\w-]{20,}", address)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        with socket.socket() as taken:  # another address of the machine is still free
            taken.bind(("127.0.0.2", port))
        process.send_signal(sent)
        errors = process.communicate(timeout=30)[1]
        assert process.returncode == code
        assert len(errors.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


MISTAKES = [
    ("nothing",),
    ("no.yaml",),
    ("binary.yaml",),
    ("--save", "there/x.yaml"),
    ("--save", "x.txt"),
    ("MNIST-II-01", "--port", "{port}"),
]


@pytest.mark.parametrize("args", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line(args, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("binary.yaml").write_bytes(b"name: \xff\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        args = [each.format(port=taken.getsockname()[1]) for each in args]
        with pytest.raises(SystemExit) as ended:
            main(["studio", "--no-browser", *args])
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert args[-1] in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["binary.yaml"]


def test_a_file_that_does_not_exist_leads_to_a_new_layout(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["studio", "new.yaml"])
    assert "mnistcompose studio --save new.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_a_missing_package_is_told(missing, tmp_path):
    code = f"import sys; sys.modules[{missing!r}] = None; from mnistcompose.cli import main; main(['studio'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert result.returncode == 2
    assert "pip install starlette" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with open_browser(1280, 800) as driver:
        driver.set_script_timeout(30)
        yield driver


class Page:
    """What a user does on the page, and sees there."""

    def __init__(self, driver, address):
        self.driver = driver
        driver.get(address)
        self.until(lambda: self.find("#facts").text)

    def until(self, condition):
        rebuilt = [StaleElementReferenceException]  # the form, between finding a field and reading it
        return WebDriverWait(self.driver, 30, ignored_exceptions=rebuilt).until(lambda _: condition())

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def picture(self):
        """All that the 64 tiles show."""
        script = "return [...document.querySelectorAll('#grid canvas')].map(c => c.toDataURL()).join()"
        return self.driver.execute_script(script)

    def labels(self):
        script = "return [...document.querySelectorAll('figcaption')].map(c => c.textContent)"
        return self.driver.execute_script(script)

    def text(self):
        return self.find("#text").get_attribute("value")

    def write(self, selector, text):
        field = self.find(selector)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    (folder / "mine.yaml").write_text(TEXT)
    with running(folder, "mine.yaml") as (_, address):
        yield address


@pytest.fixture
def page(browser, address):
    """The page as it is opened; what a test changes and does not save is forgotten."""
    yield Page(browser, address)
    broken = [entry for entry in browser.get_log("browser") if entry["source"] in ("javascript", "security")]
    assert broken == []


def test_a_slider_changes_the_pictures_and_the_text_and_is_saved(browser, tmp_path):
    (tmp_path / "mine.yaml").write_text(TEXT)
    with running(tmp_path, "mine.yaml") as (_, address):
        page = Page(browser, address)
        before = page.picture()
        page.find("[data-slider='slots.0.center.0']").send_keys(Keys.ARROW_LEFT * 5)
        page.until(lambda: "center: [-0.05, 0.0]" in page.text())
        page.until(lambda: page.picture() != before)
        assert page.find("#status").text == "unsaved changes"
        assert (tmp_path / "mine.yaml").read_text() == TEXT
        page.find("#save").click()
        page.until(lambda: page.find("#status").text == "saved mine.yaml")
        saved = (tmp_path / "mine.yaml").read_text()
        assert saved == page.text() == TEXT.replace("[0.0, 0.0]", "[-0.05, 0.0]")
        shown = page.picture()
        again = Page(browser, address)
        again.until(lambda: again.picture() == shown)
        assert again.text() == saved
        assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_the_page_that_a_desktop_opens_leads_to_the_studio(browser, address, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with opened_page(address):
        WebDriverWait(browser, 30).until(lambda _: opened)
        page = Page(browser, opened[0])
        assert browser.current_url == address
        assert len(page.labels()) == 64


def test_the_labels_on_the_page_are_those_of_the_dataset(page):
    spec, bank = parse_spec(TEXT), load_digits("train")
    numbers, _ = labels(bank, draw(spec, "train", 0, 64, 0, bank))
    assert page.labels() == [f"{number:02d}" for number in numbers]


def test_a_text_changes_the_form(page):
    before = page.picture()
    page.write("#text", TEXT.replace("[0.8, 0.1]", "[1.5, 0.1]"))
    page.until(lambda: page.driver.find_element(By.ID, "field-slots-1-center-0").get_attribute("value") == "1.5")
    page.until(lambda: page.picture() != before)


def test_a_wrong_value_has_its_message_at_the_field(page):
    page.write("#field-slots-0-center-0", "12")
    message = page.until(lambda: page.find("#field-slots-0-center-0-problem").text)
    assert message == "slots[0].center[0] = 12: should be less than or equal to 10"
    assert page.find("#field-slots-0-center-0").get_attribute("aria-invalid") == "true"
    assert page.find("#problems").text.startswith("line 6: slots[0]")
    page.find("#save").click()
    page.until(lambda: page.find("#status").text.startswith("not saved"))
    page.write("#field-slots-0-center-0", "1")
    page.until(lambda: not page.find("#problems").text)
    assert not page.find("#field-slots-0-center-0-problem").is_displayed()


def test_slots_come_and_go(page):
    count = lambda: len(read_fields(page.text())["slots"])  # noqa: E731
    for slots in range(3, 10):
        page.find("#field-slots-add").click()
        page.until(lambda slots=slots: count() == slots)
    assert not page.find("#field-slots-add").is_enabled()
    page.until(lambda: len(page.labels()[0]) == 9)
    page.driver.execute_script("document.querySelector('[data-key=\"slots.0\"] .ends button').click()")
    page.until(lambda: count() == 8)
    assert read_fields(page.text())["slots"][0]["center"] == [0.8, 0.1]
    assert "# as we call it" in page.text()


def test_a_quantity_can_vary_in_every_way(page):
    for form in ("uniform", "normal", "choice", "fixed"):
        page.find("#field-digit-scale").send_keys(form[0])
        page.until(lambda form=form: form in page.text() or form == "fixed")
        page.until(lambda: page.find("#problems").text == "" and parse_spec(page.text()))
    assert isinstance(read_fields(page.text())["digit"]["scale"], float | int)


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page):
    script = """
        const all = [...document.querySelectorAll('input, select, textarea, button, summary')];
        const named = (e) => e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim();
        return [all.filter((e) => !named(e)).map((e) => e.outerHTML), all.filter((e) => e.tabIndex < 0).length,
                new Set(all.filter((e) => e.id).map((e) => e.id)).size - all.filter((e) => e.id).length];
    """
    assert page.driver.execute_script(script) == [[], 0, 0]


@pytest.mark.parametrize("width", [500, 1000, 1280])
def test_nothing_is_cut_off_or_scrolled_sideways(page, width):
    script = """
        const [root, header] = [document.scrollingElement, document.querySelector('header')];
        const [above, below] = [0, header.getBoundingClientRect().bottom];
        const places = [...header.children].map((e) => e.getBoundingClientRect());
        const outside = places.filter(({ top, bottom }) => top < above || bottom > below);
        return [root.scrollWidth - root.clientWidth, outside.length];
    """
    before = page.driver.get_window_size()
    try:
        page.driver.set_window_size(width, 800)
        for name in ("file", "status"):
            page.driver.execute_script(f"document.getElementById('{name}').textContent += ' and more'.repeat(10)")
        assert page.driver.execute_script(script) == [0, 0]
    finally:
        page.driver.set_window_size(before["width"], before["height"])


def test_the_build_command_has_the_seed_that_is_shown(page):
    page.write("#seed", "7")
    page.until(lambda: page.find("#command").text == "mnistcompose build mine.yaml --seed 7")
    before = page.picture()
    page.write("#seed", "8")
    page.until(lambda: page.picture() != before)


def choose(page, field, word):
    page.driver.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input'));",
        field, word,
    )  # fmt: skip


def test_size_colour_window_and_length_can_be_set(page):
    def until_read(**expected):
        page.until(lambda: not page.find("#problems").text and expected.items() <= read_fields(page.text()).items())

    choose(page, "field-output-channels", "3")
    until_read(output={"channels": 3})
    picker = page.find("#field-digit-tint-value")
    page.driver.execute_script("arguments[0].value = '#ff0040'; arguments[0].dispatchEvent(new Event('input'))", picker)
    page.until(lambda: read_fields(page.text())["digit"].get("tint") == [255, 0, 64])
    page.until(lambda: colors(page) == {(True, False, True)})
    choose(page, "field-digit-tint", "choice")
    page.until(lambda: read_fields(page.text())["digit"].get("tint") == {"choice": [[255, 0, 64]]})
    page.write("[data-field='digit.tint.choice']", "[[255, 0, 0], [0, 0, 255]]")
    page.until(lambda: colors(page) == {(True, False, False), (False, False, True), (True, False, True)})
    choose(page, "field-digit-tint", "by digit")
    page.until(lambda: len(read_fields(page.text())["digit"]["tint"].get("by_digit", [])) == 10)
    page.until(lambda: not page.find("#problems").text and colors(page) == {(True, True, True)})
    page.write("#field-output-width", "56")
    choose(page, "field-output-crop", "window")
    page.until(lambda: read_fields(page.text())["output"].get("crop") == {"width": 1, "height": 1})
    for side in ("width", "height"):
        page.write(f"#field-output-crop-{side}", "6")
    page.until(lambda: not page.find("#problems").text)
    sides = "const c = document.querySelector('#grid canvas'); return [c.width, c.height]"
    page.until(lambda: page.driver.execute_script(sides) == [112, 56])
    choose(page, "field-length", "choice")
    page.until(lambda: read_fields(page.text()).get("length") == {"choice": [1]})
    page.until(lambda: {len(label) for label in page.labels()} == {1})
    page.find("#field-distinct").click()
    until_read(distinct=True)


def test_numbers_can_be_held_out_and_weighted(page):
    def until_numbers(expected, works=True):
        page.until(lambda: read_fields(page.text()).get("numbers") == expected)
        page.until(lambda: bool(page.find("#problems").text) != works)

    choose(page, "field-numbers", "numbers")
    until_numbers({})
    choose(page, "field-numbers-weights", "balanced")
    until_numbers({"weights": "balanced"})
    choose(page, "field-numbers-held_out", "a share")
    until_numbers({"weights": "balanced", "held_out": {"share": 0.2}})
    page.write("#field-numbers-held_out-share", "0.3")
    until_numbers({"weights": "balanced", "held_out": {"share": 0.3}})
    choose(page, "field-numbers-weights", "list")
    until_numbers({"weights": {"list": {"0": 1}}, "held_out": {"share": 0.3}}, works=False)
    page.write("#field-numbers-weights-list", '{"07": 1, "70": 2}')
    choose(page, "field-numbers-held_out", "these numbers")
    page.write("[data-field='numbers.held_out.test']", "70")
    until_numbers({"weights": {"list": {"07": 1, "70": 2}}, "held_out": {"test": ["70"]}})
    page.until(lambda: set(page.labels()) == {"07"})
    assert page.find("#field-numbers-held_out").get_attribute("value") == "these numbers"


def colors(page):
    """Which of red, green and blue any sample's canvas shows, sample by sample."""
    script = """
        return [...document.querySelectorAll('#grid canvas')].map((c) => {
            const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, most = [0, 0, 0];
            data.forEach((value, place) => { if (place % 4 < 3) most[place % 4] = Math.max(most[place % 4], value); });
            return most;
        });
    """
    page.find("#boxes").is_selected() and page.find("#boxes").click()
    return {tuple(value > 0 for value in most) for most in page.driver.execute_script(script)}
