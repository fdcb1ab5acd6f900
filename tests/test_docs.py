"""The tutorial and the notebook are run as they are written."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mnistcompose.cli import main

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    parser, runner, names = doctest.DocTestParser(), doctest.DocTestRunner(), {"__name__": "tutorial"}
    blocks = BLOCK.findall((DOCS / "tutorial.md").read_text())
    assert {language for language, _ in blocks} == {"bash", "python"}
    for number, (language, text) in enumerate(blocks):
        if language == "bash":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text], env=environment, capture_output=True, text=True, timeout=240
            )
            assert done.returncode == 0, f"{text}\n{done.stderr}"
        else:
            test = parser.get_doctest(text, names, f"block {number}", "tutorial.md", 0)
            assert test.examples, text
            report = []
            runner.run(test, out=report.append, clear_globs=False)
            names = test.globs
            assert runner.summarize(verbose=False).failed == 0, "".join(report)
    assert {"sheet.png", "powers.png", "powers.yaml"} <= {path.name for path in tmp_path.iterdir()}


def test_a_model_of_ones_own_beside_the_baseline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["build", "MNIST-III-10", "--train", "1000", "--test", "300"])
    main(["compare", "data/MNIST-III-10", "--models", "baseline", "--epochs", "1", "--device", "cpu", "--no-progress"])
    blocks = [text for kind, text in BLOCK.findall((DOCS / "howto" / "model.md").read_text()) if kind == "python"]
    text = "".join(blocks).replace("epochs=20", "epochs=1, device='cpu'")
    names = {}
    exec(text.replace("paired_difference(mine", "found = paired_difference(mine"), names)
    assert names["found"].low <= names["found"].mean <= names["found"].high
    assert names["mine"].shape == names["baseline"].shape == (1, 300)
    assert names["found"].mean == pytest.approx(100 * (names["mine"].mean() - names["baseline"].mean()))


def test_the_notebook(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(DOCS / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()  # raises
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert not any(tmp_path.iterdir())


def test_every_field_of_a_layout_is_documented():
    pytest.importorskip("sphinx")
    import importlib.util

    from mnistcompose.layout.model import Digit, LayoutSpec, Noise, Slot

    spec = importlib.util.spec_from_file_location("conf", DOCS / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    text = conf.fields_of(LayoutSpec.model_json_schema())
    for model in (LayoutSpec, Digit, Slot, Noise):
        for field in model.model_fields:
            assert f"| `{field}` |" in text
