"""README and docs: every block of code is run as it is written, in the order of its page.

A block in `sh` is not run: it needs a network, other machines, a browser, files of the reader's, or hours.
"""

import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mnistcompose.layout.model import Digit, LayoutSpec, Noise, Slot
from mnistcompose.layout.names import bundled_names, read_source

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(bash|python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = {
    str(path.relative_to(ROOT)): BLOCK.findall(path.read_text())
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
}
NOT_RUN = re.compile(
    r"pip install|path/to|HOST|BUCKET|studio|--all|--scheduler|--target|benchmarks/|_COMPLETE|--faults full"
)
# Training on fewer images and for an epoch keeps the tests short; the words of a page stay as they are.
COMMAND = f"""#!/bin/bash
set -euo pipefail
run() {{ {shlex.quote(sys.executable)} -m mnistcompose.cli "$@"; }}
case "$1" in
  build) case " $* " in *" --train "*) run "$@" ;; *) run "$@" --train 2000 --test 1000 ;; esac ;;
  train|compare)
    for given; do
      if [[ $given == MNIST-* ]]; then
        [ -e "data/$given" ] || run build "$given" --train 2000 --test 1000 > /dev/null
        given=data/$given
      fi
      arguments+=("$given")
    done
    run "${{arguments[@]}}" --epochs 1 --device cpu ;;
  *) run "$@" ;;
esac
"""


def test_every_python_file_that_a_page_names_is_there() -> None:
    named = re.compile(r"`((?:mnistcompose|dcl|cli|benchmarks|tests|docs)/[\w/]+\.py)")
    pages = [*ROOT.glob("*.md"), *(page for folder in ("docs", "results") for page in (ROOT / folder).rglob("*.md"))]
    gone = {f"{page.relative_to(ROOT)}: {name}" for page in pages for name in named.findall(page.read_text())
            if not (ROOT / name).exists()}  # fmt: skip
    assert not gone


def read(page: str) -> list[tuple[str, str]]:
    """A page's blocks, without the two commands of the README that install the package."""
    blocks = [(kind, text.removeprefix("pip install . && ")) for kind, text in PAGES[page]]
    return [(kind, text) for kind, text in blocks if not text.startswith("pip install '.[test]'")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which `mnistcompose` and `python` are those of the tests."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "mnistcompose").write_text(COMMAND)
    (bin_ / "mnistcompose").chmod(0o755)
    (bin_ / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def run(page: str) -> dict[str, object]:
    """Run a page's blocks in order, and return the names that its Python defined."""
    names: dict[str, object] = {"__name__": "page"}
    for number, (kind, text) in enumerate(read(page)):
        if kind == "bash":
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"{page}: {text}\n{done.stderr}"
        elif kind == "python" and ">>>" in text:
            test = doctest.DocTestParser().get_doctest(text, names, f"block {number}", page, 0)
            runner, report = doctest.DocTestRunner(), []
            runner.run(test, out=report.append, clear_globs=False)
            names = test.globs
            assert runner.summarize(verbose=False).failed == 0, "".join(report)
        elif "import grain" in text and find_spec("grain") is None:
            break  # an optional package, which the rest of its page needs
        elif kind == "python":
            exec(compile(text.replace("epochs=20", "epochs=1"), f"{page}, block {number}", "exec"), names)
    return names


@pytest.mark.parametrize("page", [page for page, blocks in PAGES.items() if any(kind != "sh" for kind, _ in blocks)])
def test_a_page_runs_as_it_is_written(page, folder):
    names = run(page)
    if page == "docs/tutorial.md":
        assert {"sheet.png", "powers.png", "powers.yaml"} <= {path.name for path in folder.iterdir()}
    if page == "docs/howto/model.md":
        assert names["mine"].shape == names["baseline"].shape == (1, 1000)
        difference = 100 * (names["mine"].mean() - names["baseline"].mean())
        assert names["difference"].mean == pytest.approx(difference)
        assert names["difference"].low <= difference <= names["difference"].high


def test_the_scripts_that_write_digit_sets(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    from PIL import Image

    from mnistcompose import load_digits

    monkeypatch.chdir(tmp_path)
    shown = load_digits("test")
    for index in range(60):
        file = Path(f"my-digits/{shown.labels[index]}/{index}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shown.images[index]).save(file)
    names = {}
    for script in re.findall(r"^```py\n(.*?)^```$", (DOCS / "howto/digits.md").read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(script, "docs/howto/digits.md", "exec"), names)
    mine = [load_digits(split, tmp_path / "my-set") for split in ("train", "test")]
    found = sorted(
        (image.tobytes(), label) for bank in mine for image, label in zip(bank.images, bank.labels, strict=True)
    )
    assert [len(bank.labels) for bank in mine] == [50, 10]
    assert found == sorted((shown.images[index].tobytes(), shown.labels[index]) for index in range(60))
    banks = [load_digits(split, tmp_path / "scikit-digits") for split in ("train", "test")]
    assert [(len(bank.labels), bank.images.shape[1:], bank.classes) for bank in banks] == [
        (1500, (28, 28), 10),
        (297, (28, 28), 10),
    ]


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_could_not_be(page):
    assert [text for kind, text in PAGES[page] if kind == "sh" and not NOT_RUN.search(text)] == []


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("https:")]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_notebook(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(DOCS / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()  # raises
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert not any(tmp_path.iterdir())


def test_the_tables_of_a_layouts_fields_are_those_of_the_schema():
    spec = importlib.util.spec_from_file_location("fields", DOCS / "fields.py")
    fields = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fields)
    page = fields.PAGE.read_text()
    assert fields.written(page) == page, "run python docs/fields.py"
    for model in (LayoutSpec, Digit, Slot, Noise):
        assert [field for field in model.model_fields if f"| `{field}` |" not in page] == []


def test_a_bundled_layout_in_the_docs_is_the_file():
    shown = [(page, text) for page in PAGES for text in YAML.findall((ROOT / page).read_text())]
    named = [(page, name, text) for page, text in shown if (name := text.partition("\n")[0][6:]) in bundled_names()]
    assert {name for _, name, _ in named} >= {"MNIST-III-10", "MNIST-boxes", "MNIST-III-10-heldout"}
    assert [(page, name) for page, name, text in named if text.encode() != read_source(name)[0]] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_without_sphinx(page):
    """In a clone, a file that Sphinx includes is seen only as its path, so the text must name the file, too."""
    text = (ROOT / page).read_text()
    assert "{literalinclude}" not in text
    included = re.findall(r"^```{include} (\S+)$", text, re.MULTILINE)
    assert [path for path in included if f"`{path.removeprefix('../')}`" not in text] == []
