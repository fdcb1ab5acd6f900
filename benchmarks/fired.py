"""At how many outputs of a DCL module several branches fire (section 3.5): results/figures/fired.csv and fired.md.

    python benchmarks/fired.py results/table1 results/figures     # of runs with weights, `compare --keep`
    python benchmarks/fired.py                                    # fired.md from fired.csv

Trains nothing. Weights are not committed.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from report import ROOT

from dcl.experiments.inference import images_of_test, load_trained
from dcl.models.grammar import parse_layers
from dcl.reporting.claims import dead_outputs, fired
from dcl.reporting.figures import module_responses
from dcl.reporting.table import markdown_table

FIRED = ROOT / "results" / "figures" / "fired"


def measure_fired(folders: Sequence[Path]) -> str:
    """CSV: of every run whose weights are there, its dead outputs, and at how many outputs so many branches fire."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("dataset", "module", "fusion", "branches", "outputs", "dead", "firing_at_least", "share"))
    for folder in folders:
        for path in sorted(folder.glob("*/*.pt")):
            if not path.with_suffix(".json").exists():
                continue
            trained = load_trained(path)
            run = trained.identity
            layer = next((layer for layer in parse_layers(run["notation"]) if layer.kind != "C" and layer.dcl), None)
            if layer is None or layer.dcl is None:
                continue
            images, _ = images_of_test(trained)
            _, branches = module_responses(trained.net, images, trained.normalisation.on(torch.device("cpu")))
            dead = dead_outputs(branches, layer.dcl.fusion)
            known = (run["dataset"], layer, layer.dcl.fusion, len(branches), branches.shape[2], dead)
            for least, share in enumerate(fired(branches), 1):
                writer.writerow((*known, least, f"{share:.5f}"))
    return text.getvalue()


def fired_table(text: str) -> str:
    """Markdown: a line per module."""
    modules: dict[tuple[str, str, str, str], list[str]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        key = row["dataset"], row["fusion"], row["module"], f"{row['dead']} of {row['outputs']}"
        modules.setdefault(key, []).append(f"{100 * float(row['share']):.1f}")
    most = max(map(len, modules.values()), default=0)
    head = ["on", "module", "fusion", "dead outputs", *(f"{least} or more fire, %" for least in range(1, most + 1))]
    lines = [
        [dataset, module, fusion, dead, *shares, *[""] * (most - len(shares))]
        for (dataset, fusion, module, dead), shares in sorted(modules.items())
    ]
    return markdown_table(head, lines, texts=3)


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    """Measure the runs of FOLDERS again; without FOLDERS, write the table of what was measured."""
    if folders:
        FIRED.with_suffix(".csv").write_text(measure_fired(folders))
    FIRED.with_suffix(".md").write_text(fired_table(FIRED.with_suffix(".csv").read_text()) + "\n")


if __name__ == "__main__":
    main()
