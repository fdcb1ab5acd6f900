"""Compare the paper's claims about DCL's options with the stored runs: results/figures/claims.md.

    python benchmarks/claims.py
    python benchmarks/claims.py --fired     # first measures how many outputs fire; needs weights, `compare --keep`

Trains nothing. How many fire is kept in results/figures/fired.csv, since weights are not committed.
"""

import csv
import io

import click
import torch
from report import ROOT

from dcl.experiments.inference import images_of_test, load_trained
from dcl.experiments.registry import MODELS
from dcl.experiments.run_file import read_records
from dcl.models.grammar import parse_layers
from dcl.reporting.claims import by_model, claims_table, dead_outputs, fired, loss_gaps
from dcl.reporting.figures import module_responses
from dcl.reporting.table import markdown_table, model_order

FOLDERS = [ROOT / "results" / name for name in ("table1", "figures")]
CLAIMS = ROOT / "results" / "figures" / "claims.md"
FIRED = ROOT / "results" / "figures" / "fired.csv"
DATASET = "MNIST-III-10"


def measure_fired() -> str:
    """CSV: of every run whose weights are there, its dead outputs, and at how many outputs so many branches fire."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("dataset", "module", "fusion", "branches", "outputs", "dead", "firing_at_least", "share"))
    for folder in FOLDERS:
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


def claims() -> str:
    """Markdown of all three tables."""
    runs = by_model(record for folder in FOLDERS for record in read_records(folder).values())
    gaps = sorted(
        (row for row in loss_gaps(runs, DATASET) if row[0] in MODELS and row[0] != "oracle"),
        key=lambda row: model_order(row[0]),
    )
    parts = [
        claims_table(runs),
        markdown_table(
            [f"on {DATASET}, epoch 20", "training loss", "test loss", "test less training"],
            [[model, *(f"{value:.3f}" for value in values)] for model, *values in gaps],
        ),
        fired_table(FIRED.read_text()),
    ]
    return "\n\n".join(parts) + "\n"


@click.command()
@click.option("--fired", "measure", is_flag=True, help="Measure again how many outputs fire.")
def main(measure: bool) -> None:
    """Write the tables."""
    if measure:
        FIRED.parent.mkdir(parents=True, exist_ok=True)
        FIRED.write_text(measure_fired())
    CLAIMS.write_text(claims())


if __name__ == "__main__":
    main()
