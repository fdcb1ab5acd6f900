"""The report: its numbers, its page in a real browser, its Markdown; TensorBoard's events."""

import io
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import console, open_browser
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dcl.experiments.inference import load_trained, weigh
from dcl.experiments.run_file import read_records
from dcl.reporting.charts import BOTTOM, LEFT, RIGHT, TOP, Dot, Line, Scale, dot_chart, line_chart, scale_over, ticks
from dcl.reporting.html import as_html, as_markdown, in_markdown
from dcl.reporting.misreadings import _pictures, digit_confusions, find_truth, position_errors, worst_numbers
from dcl.reporting.report import PLACES, make_report
from dcl.reporting.table import COLUMNS, summarise
from dcl.training import loop
from mnistcompose.cli import main
from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.errors import BuildError, InputError
from mnistcompose.layout.names import load_spec, spec_names
from mnistcompose.layout.reading import dump_spec

STORED = Path(__file__).parents[3] / "results" / "table1"
BUNDLED = [load_spec(name) for name in spec_names()]
LAYOUTS = {layout.digest: layout for layout in BUNDLED}


@pytest.fixture(scope="module")
def stored() -> dict:
    return read_records(STORED)


@pytest.fixture(scope="module")
def page(stored, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(as_html(make_report(stored, root=STORED, layouts=BUNDLED)))
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Runs of a small dataset, with their weights; one of them by `train`."""
    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        small = load_spec("MNIST-II-01").model_copy(update={"train": 600, "test": 200})
        Path("small.yaml").write_text(dump_spec(small))
        options = ["--epochs", "1", "--device", "cpu", "--no-progress", "--json"]
        main(["compare", "small.yaml", "--models", "baseline,oracle", "--keep", "--out", "runs", *options])
        main(["train", "small.yaml", "--model", "A2", "--out", "runs/A2-0", *options])
    return root / "runs"


def changed(record: dict, **changes) -> dict:
    """A record with other fields of what determined it."""
    return {**record, "determined_by": {**record["determined_by"], **changes}}


def made(numbers: np.ndarray, answers: np.ndarray, model: str = "baseline", seed: int = 0, **changes) -> dict:
    """A run on the first test images of MNIST-II-05 that gave these answers."""
    layout = load_spec("MNIST-II-05")
    wrong = np.flatnonzero(numbers != answers)
    run = {
        "dataset": layout.name,
        "spec": layout.digest,
        "digits": DIGITS,
        "data_seed": 0,
        "model": model,
        "seed": seed,
        "epochs": 2,
        "measured_on": "test",
        "precision": "float32",
        "recipe": {"lr": 0.1},
        "splits": {"train": {"images": 100}, "test": {"images": len(numbers)}},
    }
    return {
        "determined_by": {**run, **changes},
        "environment": {"processor": "a loom", "ended": "2026-01-02T03:04:05+00:00"},
        "parameters": 1234,
        "seconds": 5.0,
        "error_percent": 100 * len(wrong) / len(numbers),
        "wrong": wrong.tolist(),
        "predicted": answers[wrong].tolist(),
        "history": {"train_loss": [2.0, 1.0], "test_loss": [1.5, float("nan")], "test_error": [90.0, 0.0]},
    }


DIGITS = "0ed0ede7a5e217fe991d69e9a43b3934983ba49fe7fd5cddb05169d3b60c8249"
NUMBERS = ComposedDigits(load_spec("MNIST-II-05"), "test", length=300)[list(range(300))][1].numpy()
answers_of_runs = st.lists(
    st.lists(st.integers(0, 99), min_size=300, max_size=300).map(np.array), min_size=1, max_size=3
)


# --- numbers --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(answers_of_runs)
def test_positions_digits_and_numbers_are_counted(runs):
    records = [made(NUMBERS, answers, seed=seed) for seed, answers in enumerate(runs)]
    truth = find_truth(records[0]["determined_by"], LAYOUTS, None)
    assert np.array_equal(truth.numbers, NUMBERS)
    answers, wanted = np.stack(runs), np.stack([NUMBERS // 10, NUMBERS % 10])
    given_digits = np.stack([answers // 10, answers % 10])
    expected = [100 * (given_digits[p] != wanted[p]).mean() for p in range(2)]
    assert position_errors(records, truth) == pytest.approx(expected)
    shares = digit_confusions(records, truth)
    for a, b in ((3, 5), (4, 9), (0, 7)):
        shown = (wanted == a).sum() * len(runs)
        assert shares[a][b] == pytest.approx(100 * ((wanted[:, None] == a) & (given_digits == b)).sum() / shown)
        assert shares[a][a] == 0
    worst = worst_numbers([records], truth)
    rates = [each.errors[0] for each in worst]
    assert rates == sorted(rates, reverse=True)
    for each in worst:
        mine = int(each.number) == NUMBERS
        assert each.images == mine.sum() >= 3
        assert each.errors[0] == pytest.approx(100 * (answers[:, mine] != int(each.number)).mean())
        for number, times in each.read_as:
            assert times == (answers[:, mine] == int(number)).sum()


@pytest.mark.parametrize("name", ["MNIST-II-05", "MNIST-colour"])
def test_pictures_are_the_images_in_their_colours(name):
    layout = load_spec(name)
    run = changed(made(NUMBERS, NUMBERS), dataset=name, spec=layout.digest)["determined_by"]
    truth = find_truth(run, {layout.digest: layout}, None)
    for place, picture in zip((3, 8), _pictures([3, 8], [[], []], truth), strict=True):
        with Image.open(io.BytesIO(picture.png)) as shown:
            pixels = np.asarray(shown)
        expected, number = ComposedDigits(layout, "test", length=300)[place]
        channels, *sides = expected.shape
        assert np.array_equal(pixels.reshape(*sides, channels).transpose(2, 0, 1), expected)
        assert int(picture.number) == number
    assert truth.images([]).shape == (0, *expected.shape)


def test_a_run_that_contradicts_the_images_is_refused():
    record = made(NUMBERS, (NUMBERS + 1) % 100)
    record["predicted"][7] = int(NUMBERS[7])
    with pytest.raises(BuildError, match=r"x\.json: calls the answer to image 7 wrong"):
        make_report({Path("x.json"): record}, root=Path(), layouts=BUNDLED)


def test_runs_of_different_sets_are_not_mixed():
    record = made(NUMBERS, (NUMBERS + 1) % 100)
    for other, message in (
        (record, "a and b have the same"),
        (changed(record, seed=1, data_seed=4), "a and b differ in data_seed"),
    ):
        with pytest.raises(InputError, match=message):
            make_report({Path("a"): record, Path("b"): other}, root=Path())


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"spec": "f" * 64}, "--layout FILE"), ({"digits": "f" * 64}, "--digits DIR"), ({"spec": None}, "natural images")],
)
def test_what_is_not_at_hand_is_said(changes, message):
    report = make_report({Path("a"): made(NUMBERS, NUMBERS * 0, **changes)}, root=Path(), layouts=BUNDLED)
    assert report.sections[0].reading is None
    assert message in report.sections[0].unread
    assert message in as_html(report)
    assert message.partition(" ")[0] in as_markdown(report)


@pytest.mark.parametrize("answers", [NUMBERS, (NUMBERS + 1) % 100])
def test_runs_without_and_of_errors_alone(answers):
    report = make_report({Path("a"): made(NUMBERS, answers)}, root=Path(), layouts=BUNDLED)
    assert len(report.sections[0].reading.missed) == (0 if answers is NUMBERS else 12)
    assert "a loom" in as_html(report)
    assert "2026-01-02T03:04:05" in as_markdown(report)


def test_two_hundred_runs():
    rng = np.random.default_rng(0)
    models = [f"C5@{k}-FC9-OUT" for k in range(1, 20)] + ["baseline"]
    records = {
        Path(f"{model}-{seed}.json"): made(NUMBERS, np.where(rng.random(300) < 0.1, 0, NUMBERS), model, seed)
        for model in models
        for seed in range(10)
    }
    text = as_html(make_report(records, root=Path(), layouts=BUNDLED))
    assert all(f">{path}<" in text for path in map(str, records))
    assert len(text) < 2_000_000


def test_most_wrong_are_those_of_the_least_probability(kept):
    records = read_records(kept, PLACES)
    assert len(records) == 3
    report = make_report(records, root=kept, layouts=BUNDLED)
    assert [run.name for run in report.sections[0].reading.sure] == ["baseline, seed 0", "oracle, seed 0", "A2, seed 0"]
    for path, record in records.items():
        truth = find_truth(record["determined_by"], LAYOUTS, None)
        trained, wrong = load_trained(path), np.array(record["wrong"])
        guesses, sure, of_truth = weigh(trained, truth.images(wrong), truth.numbers[wrong], torch.device("cpu"), 64)
        assert np.mean(guesses == record["predicted"]) > 0.98  # but for the arithmetic of other batches
        assert (of_truth <= sure).all()
        assert (sure <= 1).all()
        name = f"{record['determined_by']['model']}, seed 0"
        shown = next(run for run in report.sections[0].reading.sure if run.name == name)
        assert {p.place for p in shown.pictures} == set(wrong[np.argsort(of_truth, kind="stable")[:12]].tolist())
    assert "ended" in json.loads((kept / "A2-0" / "run.json").read_text())["environment"]


def test_weights_of_another_run_are_not_taken_for_its_own(kept):
    records = {path: changed(record, epochs=9) for path, record in read_records(kept, PLACES).items()}
    assert make_report(records, root=kept, layouts=BUNDLED).sections[0].reading.sure == []


def test_weights_of_an_unfinished_repetition_are_left_out(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "runs")
    (path,) = (tmp_path / "runs").glob("*/baseline-0.pt")
    state = torch.load(path, weights_only=True)
    state["history"] = {**state["history"], "train_loss": []}  # as before the first epoch's end
    torch.save(state, path)
    report = make_report(read_records(tmp_path / "runs", PLACES), root=tmp_path, layouts=BUNDLED)
    assert [run.name for run in report.sections[0].reading.sure] == ["oracle, seed 0", "A2, seed 0"]


def test_a_model_without_a_result_has_no_column_among_what_was_misread():
    runs = {Path(model): made(NUMBERS, NUMBERS * 0, model) for model in ("baseline", "A3S")}
    ended = made(NUMBERS, NUMBERS * 0, "A2")["determined_by"]
    runs[Path("A2")] = {"determined_by": ended, "status": "diverged", "reason": "training diverged in epoch 1"}
    report = make_report(runs, root=Path(), layouts=BUNDLED)
    for lines in re.findall(r"(?:^\|.*\n)+", as_markdown(report), re.MULTILINE):
        assert len({line.count("|") for line in lines.splitlines()}) == 1, lines
    table = re.search(r"<th[^>]*>number</th>(.*)</tr></thead>\s*<tbody>\s*<tr>(.*)</tr>", as_html(report))
    head, row = table.groups()
    assert re.findall(r">(\w+)</th>", head) == ["images", "baseline", "A3S"]
    assert row.count("<td") == head.count("<th")


# --- charts ---------------------------------------------------------------------------------------------------------

amounts = st.floats(1e-6, 1e6)


@given(st.lists(amounts, min_size=1, max_size=20), st.booleans())
def test_a_scale_holds_its_values_and_has_round_ticks(values, log):
    scale = scale_over(values, 0, 100, log=log)
    places = [scale.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    found = ticks(scale)
    assert 1 <= len(found) <= 9
    assert all(-1e-6 <= tick.at <= 100 + 1e-6 for tick in found)


@given(st.lists(st.one_of(amounts, st.sampled_from([0.0, -1.0, float("nan"), float("inf")])), min_size=1, max_size=60))
def test_lines_stay_in_the_frame_whatever_they_hold(values):
    chart = line_chart("t", "y", [Line("a", 0, tuple(values)), Line("b", 11, (1.0,))])
    assert len(chart.marks[0].points) == len(chart.marks[0].values) == len(values)
    assert len(chart.x_ticks) <= 11
    for x, y in (point for mark in chart.marks for point in mark.points):
        assert LEFT <= x <= RIGHT
        assert TOP - 1e-6 <= y <= BOTTOM + 1e-6


@given(st.lists(st.builds(Dot, st.text(max_size=40), st.just(0), st.integers(0, 10**8), st.floats(0, 100)), min_size=1))
def test_dots_stay_in_the_frame_and_have_names(dots):
    for mark in dot_chart("t", "x", "y", dots).marks:
        assert LEFT <= mark.points[0][0] <= RIGHT
        assert TOP <= mark.points[0][1] <= BOTTOM
        assert mark.label is not None


def test_a_logarithm_doubles_in_equal_steps():
    scale = Scale(1, 16, 0, 4, log=True)
    assert [scale.place(2.0**k) for k in range(5)] == pytest.approx([0, 1, 2, 3, 4])


# --- the page -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Text, elements, and whether they nest."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def words(text: str) -> str:
    return " ".join(text.split()).replace("−", "-")


def test_the_page_is_whole_and_holds_every_number_of_the_table(page, stored):
    text = page.read_text()
    parsed = Page(text)
    assert parsed.open == []
    shown = words(parsed.text)
    rows = summarise(stored.values())
    assert all(show(row) in shown for row in rows for show in COLUMNS.values())
    assert all(entry["sha256"] in shown for r in stored.values() for entry in r["determined_by"]["splits"].values())
    headings = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(headings))
    assert all(attributes.get("alt") for tag, attributes in parsed.elements if tag == "img")
    assert all(attributes.get("scope") for tag, attributes in parsed.elements if tag == "th")
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in parsed.elements:
        for name in ("aria-labelledby", "href"):
            assert not (attributes.get(name) or "").startswith("#") or attributes[name][1:] in ids


def test_the_page_loads_nothing(page):
    text = page.read_text()
    parsed = Page(text)
    for tag, attributes in parsed.elements:
        assert not attributes.get("src", "data:").strip().lower().startswith("http")
        assert tag == "a" or "http" not in attributes.get("href", "")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert "@import" not in text
    assert "url(" not in text
    policy = next(a["content"] for tag, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_the_same_runs_give_the_same_bytes(page, stored):
    backwards = dict(reversed(stored.items()))
    assert as_html(make_report(backwards, root=STORED, layouts=BUNDLED)) == page.read_text()


HOSTILE = "<script>alert(1)</script>\"'|`*\n&\ud800"


def hostile_report():
    record = made(NUMBERS, NUMBERS * 0, HOSTILE, dataset=HOSTILE, notation=HOSTILE, recipe={HOSTILE: HOSTILE})
    other = made(NUMBERS, NUMBERS * 0, dataset=HOSTILE, measured_on="test")
    for each in (record, other):
        each["environment"] = {HOSTILE: HOSTILE, "ended": HOSTILE}
    return make_report({Path("a\nb<i>.json"): record, Path("c"): other}, root=Path(), layouts=BUNDLED, title=HOSTILE)


def test_hostile_names_are_text():
    html = as_html(hostile_report())
    parsed = Page(html)
    assert parsed.open == []
    assert [tag for tag, _ in parsed.elements].count("script") == 1
    assert "<script>alert" not in html
    assert "alert(1)" in parsed.text
    text = as_markdown(hostile_report())
    assert "<script" not in re.sub(r"\\.", "", text)
    for lines in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}) == 1, lines


@given(st.text())
def test_markdown_names_stay_on_their_line_and_in_their_cell(name):
    written = in_markdown(name)
    assert len(written.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*[|<`*]", written)


def test_markdown_tells_the_same(stored):
    text = as_markdown(make_report(stored, root=STORED, layouts=BUNDLED))
    assert all(show(row) in text for row in summarise(stored.values()) for show in COLUMNS.values())
    assert "![" not in text
    assert all(path.relative_to(STORED).as_posix() in text.replace("\\", "") for path in stored)


# --- in the browser -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with open_browser() as driver:
        yield driver


def test_it_opens_from_disk_and_shows_one_dataset(page, browser, stored):
    browser.get(page.as_uri())
    datasets = list(dict.fromkeys(record["determined_by"]["dataset"] for record in stored.values()))
    visible = "return [...document.querySelectorAll('.dataset')].filter(e => e.checkVisibility()).map(e => e.id)"
    assert browser.execute_script(visible) == ["dataset-1"]
    options = browser.find_elements("css selector", "#choice option")
    assert [option.text for option in options] == sorted(datasets)
    options[2].click()
    assert browser.execute_script(visible) == ["dataset-3"]
    browser.find_element("link text", sorted(datasets)[1]).click()
    wait(browser, lambda: browser.execute_script(visible) == ["dataset-2"])
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert console(browser) == []


def test_curves_tell_what_is_under_the_pointer_and_the_keys(page, browser, stored):
    from selenium.webdriver import ActionChains, Keys

    browser.get(page.as_uri() + "#dataset-1")
    chart = browser.find_element("css selector", "#dataset-1 .chart svg")
    tip = browser.find_element("css selector", "#dataset-1 .chart .tip")
    assert not tip.is_displayed()
    line = chart.find_element("css selector", "polyline.mark")
    at = browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center'});"
        "const p = arguments[1].points[11].matrixTransform(arguments[0].getScreenCTM()); return [p.x, p.y]", chart, line
    )  # fmt: skip
    pointer = ActionChains(browser)
    pointer.w3c_actions.pointer_action.move_to_location(*map(round, at))
    pointer.perform()
    record = next(r for path, r in stored.items() if path.stem == "baseline-0")
    others = [r for r in stored.values() if r["determined_by"]["dataset"] == record["determined_by"]["dataset"]]
    assert tip.is_displayed()
    assert any(f"epoch 12: {other['history']['test_error'][11]:.4g} %" in tip.text for other in others)
    chart.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    chart.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert tip.text == f"baseline, seed 0\nepoch 2: {record['history']['test_error'][1]:.4g} %"
    assert console(browser) == []


def test_it_prints_all_datasets(page, browser):
    import base64

    browser.get(page.as_uri())
    printed = base64.b64decode(browser.print_page())
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > len(browser.find_elements("class name", "dataset"))


def test_hostile_names_do_nothing_in_the_browser(tmp_path, browser):
    (tmp_path / "page.html").write_text(as_html(hostile_report()))
    browser.get((tmp_path / "page.html").as_uri())
    assert "<script>alert(1)</script>" in browser.find_element("tag name", "h1").text
    chart = browser.find_element("css selector", ".chart svg")
    chart.send_keys("\ue014\ue015")  # right, down: the other run
    assert "alert(1)" in browser.find_element("css selector", ".tip").text
    assert console(browser) == []


def wait(browser, holds) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10, 0.05).until(lambda _: holds())


# --- the commands ---------------------------------------------------------------------------------------------------


def test_the_command_writes_a_page_or_prints_markdown(kept, tmp_path, capsys):
    main(["report", str(kept), "-o", str(tmp_path / "new" / "page.html"), "--title", "Mine & yours"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "page.html")
    assert "<h1>Mine &amp; yours</h1>" in (tmp_path / "new" / "page.html").read_text()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    main(["report", str(kept / "A2-0"), "--markdown"])
    assert capsys.readouterr().out.startswith("# 1 run on 1 dataset\n")
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_a_layout_of_ones_own_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = load_spec("MNIST-II-01").model_copy(update={"name": "mine", "composite": "add", "train": 100, "test": 50})
    Path("mine.yaml").write_text(dump_spec(own))
    main(["train", "mine.yaml", "--epochs", "1", "--device", "cpu", "--no-progress", "--out", "run"])
    for options, drawn in (([], False), (["--layout", "mine.yaml"], True)):
        main(["report", "run", *options])
        assert ("Contact sheet of mine" in Path("report.html").read_text()) is drawn


@pytest.mark.parametrize("content", [None, "{}"])
def test_no_runs_and_damaged_ones_get_one_line(tmp_path, capsys, content):
    if content:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(SystemExit) as caught:
        main(["report", str(tmp_path), "-o", str(tmp_path / "page.html")])
    assert caught.value.code == (1 if content else 2)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


# --- TensorBoard ----------------------------------------------------------------------------------------------------


def events(folder: Path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(folder))
    found.Reload()
    return found


def test_events_are_those_of_the_run_once(kept, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    from dcl.experiments import tensorboard as module

    log = tmp_path / "log" / "MNIST-II-01" / "A2-0"
    command = ["train", str(kept.parent / "small.yaml"), "--model", "A2", "--epochs", "4", "--device", "cpu"]
    command += ["--no-progress", "--tensorboard", "log"]

    saved = loop.save_checkpoint

    def stop_after_two(path, identity, net, optimizer, history):
        saved(path, identity, net, optimizer, history)
        if history.epochs == 3:  # stored, and not yet written as an event
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", stop_after_two)
        with pytest.raises(SystemExit):
            main(command)
    assert [event.step for event in events(log).Scalars("error/test")] == [1, 2]
    for _ in range(2):  # resumes; is stored already
        main(command)
        found = events(log)
        history = json.loads((tmp_path / "runs/MNIST-II-01/A2-0/run.json").read_text())["history"]
        for name, key in (("loss/train", "train_loss"), ("loss/test", "test_loss"), ("error/test", "test_error")):
            assert [event.step for event in found.Scalars(name)] == [1, 2, 3, 4]
            assert [event.value for event in found.Scalars(name)] == pytest.approx(history[key])
        assert [event.value for event in found.Scalars("learning_rate")][-1] < 0.01
        assert b"weight_decay" in found.Tensors("run/text_summary")[0].tensor_proto.string_val[0]
    settings = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"MNIST-II-01" in settings
    written = sorted(log.iterdir())
    with pytest.raises(SystemExit) as caught:
        main([*command, "--lr", "0.2"])  # is refused, and hides nothing
    assert caught.value.code == 2
    assert sorted(log.iterdir()) == written
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(command)
    assert "pip install tensorboard" in capsys.readouterr().err
