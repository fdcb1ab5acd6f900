"""Hold what the paper says of DCL's options against the stored runs: results/figures/claims.md, and the README's copy.

    python benchmarks/claims.py
    python benchmarks/claims.py --fired     # first measures how many outputs fire; needs weights, `compare --keep`

Trains nothing. How many fire is kept in results/figures/fired.csv, since weights are not committed.
"""

import csv
import io
from pathlib import Path

import click
import torch

from dcl.claims import as_table, by_model, claims_table, fired, loss_gaps
from dcl.experiment import MODELS
from dcl.figures import module_responses
from dcl.notation import parse_layers
from dcl.record import read_record, read_records
from dcl.trained import images_of_test, load_trained

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "results" / name for name in ("table1", "figures")]
FIRED = ROOT / "results" / "figures" / "fired.csv"
DATASET = "MNIST-III-10"
BEGIN, END = "<!-- claims: python benchmarks/claims.py -->\n", "<!-- end of claims -->\n"


def measure_fired() -> str:
    """CSV: of every run on `DATASET` whose weights are there, the share of outputs with so many branches firing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("module", "fusion", "branches", "firing_at_least", "share"))
    for folder in FOLDERS:
        for path in sorted((folder / DATASET).glob("*.pt")):
            if not path.with_suffix(".json").exists():
                continue
            trained = load_trained(path)
            notation = read_record(path.with_suffix(".json"))["determined_by"]["notation"]
            dcl = next((layer.dcl for layer in parse_layers(notation) if layer.kind == "FC" and layer.dcl), None)
            if dcl is None:
                continue
            images, _ = images_of_test(trained)
            _, branches = module_responses(trained.net, images, trained.normalisation.on(torch.device("cpu")))
            for least, share in enumerate(fired(branches), 1):
                writer.writerow((f"FC500{dcl}", dcl.fusion, len(branches), least, f"{share:.5f}"))
    return text.getvalue()


def fired_table(text: str) -> str:
    """Markdown: a line a module."""
    modules: dict[tuple[str, str, int], list[str]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        key = row["module"], row["fusion"], int(row["branches"])
        modules.setdefault(key, []).append(f"{100 * float(row['share']):.1f}")
    most = max((key[2] for key in modules), default=0)
    head = ["module", "fusion", *(f"{least} or more fire, %" for least in range(1, most + 1))]
    order = sorted(modules, key=lambda key: (key[1], key[2]))
    return as_table(head, [[key[0], key[1], *modules[key], *[""] * (most - key[2])] for key in order])


def claims() -> dict[Path, str]:
    """Content of both files, by path."""
    runs = by_model(record for folder in FOLDERS for record in read_records(folder).values())
    gaps = sorted(
        (row for row in loss_gaps(runs, DATASET) if row[0] in MODELS and row[0] != "oracle"),
        key=lambda row: MODELS.index(row[0]),
    )
    parts = [
        claims_table(runs),
        as_table(
            [f"on {DATASET}, epoch 20", "", "training loss", "test loss", "test less training"],
            [[model, "", *(f"{value:.3f}" for value in values)] for model, *values in gaps],
        ),
        fired_table(FIRED.read_text()),
    ]
    table = "\n\n".join(parts)
    readme = (ROOT / "README.md").read_text()
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return {
        ROOT / "results" / "figures" / "claims.md": f"{table}\n",
        ROOT / "README.md": f"{before}{BEGIN}\n{table}\n\n{END}{after}",
    }


@click.command()
@click.option("--fired", "measure", is_flag=True, help="Measure anew how many outputs fire.")
def main(measure: bool) -> None:
    """Write the tables."""
    if measure:
        FIRED.parent.mkdir(parents=True, exist_ok=True)
        FIRED.write_text(measure_fired())
    for path, text in claims().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
