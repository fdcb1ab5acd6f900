"""The dataset card of an export: README.md, with the metadata that Hugging Face reads at its top."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from ..layout.names import bundled_names, load_spec
from ..layout.reading import dump_spec
from ..quantities import counted
from ..storage.schema import UNITS, SplitName
from .croissant import PAPER, is_mnist
from .formats import Format, FormatName
from .source import FACTORS, Source

_COUNTED: tuple[SplitName, ...] = ("train", "test")  # splits whose size is given; that of others follows
_SIZES = (
    "n<1K",
    "1K<n<10K",
    "10K<n<100K",
    "100K<n<1M",
    "1M<n<10M",
    "10M<n<100M",
    "100M<n<1B",
    "1B<n<10B",
    "10B<n<100B",
)


def card(folder: Path, source: Source, kind: FormatName, fmt: Format) -> str:
    """Markdown text: what the dataset is, how to read it, and how to make it again.

    Parameters
    ----------
    folder
        Folder of the export's files, which are written already.
    """
    metadata = yaml.safe_dump(_metadata(folder, source, fmt), sort_keys=False, allow_unicode=True)
    return f"---\n{metadata}---\n\n{_text(source, kind, fmt)}"


def _metadata(folder: Path, source: Source, fmt: Format) -> dict[str, Any]:
    licence = (
        {"license": "cc-by-sa-3.0", "source_datasets": ["extended|mnist"]}
        if is_mnist(source)
        else {"license": "other", "license_name": "of-the-digits"}
    )
    files = (
        {
            "dataset_info": {
                "splits": [
                    {
                        "name": split,
                        "num_bytes": _split_bytes(folder, fmt.DATA.format(split=split)),
                        "num_examples": source.count(split),
                    }
                    for split in source.splits
                ],
            },
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [{"split": split, "path": fmt.DATA.format(split=split)} for split in source.splits],
                }
            ],
        }
        if fmt.DATA
        else {"viewer": False}
    )
    return {
        "pretty_name": source.spec.name,
        **licence,
        "size_categories": [size_category(sum(map(source.count, source.splits)))],
        "task_categories": list(fmt.TASKS),
        "annotations_creators": ["machine-generated"],
        "tags": ["mnist", "multi-digit", "synthetic", f"arxiv:{PAPER.rpartition('/')[2]}"],
        **files,
    }


def _split_bytes(folder: Path, pattern: str) -> int:
    """Size of a split's files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if fnmatchcase(path.relative_to(folder).as_posix(), pattern))


def size_category(count: int) -> str:
    """Hugging Face's name for a number of samples."""
    for power, name in enumerate(_SIZES, 3):
        if count < 10**power:
            return name
    return "100B<n<1T" if count < 10**12 else "n>1T"


def _noise(source: Source) -> str:
    """Say which labels are wrong."""
    if not source.spec.has_label_noise:
        return ""
    noise = source.spec.labels
    return (
        f" In the training split, {100 * noise.noise:.4g} % of the labels are wrong on purpose ({noise.kind} noise); "
        "the right number is the one that `digits` make."
    )


def _text(source: Source, kind: FormatName, fmt: Format) -> str:
    manifest = source.manifest
    splits = "\n".join(
        f"| {split} | {source.count(split):,} | `{manifest.splits[split].digest}` |" for split in source.splits
    )
    factors = "\n".join(f"| `{name}` | {UNITS[name]} |" for name in FACTORS)
    about = f"{source.spec.description}\n\n" if source.spec.description else ""
    return f"""# {source.spec.name}

{about}Numbers of {source.lengths}, composed from {_digits(source)}, in images of {source.pixels}. The label
is the whole number, one of {source.numbers:,}.{_noise(source)} The construction is that of section 4.1.1 of
[Deep Collaborative Learning for Visual Recognition]({PAPER}).

| split | images | SHA-256 |
| --- | ---: | --- |
{splits}

A split's digest is the SHA-256 of its blocks' SHA-256 (32 bytes each, in order); a block is a thousand samples, the
bytes of their images and then their labels as little-endian 64-bit integers. It is the same in every format.

## Read it

`folder` is the folder of this file.

{fmt.usage(source)}

## Factors

For each digit, most significant first:

| factor | unit |
| --- | --- |
{factors}

## Layout

```yaml
{dump_spec(source.spec)}```

Seed {manifest.seed}; SHA-256 of what determines the pixels `{manifest.spec_digest}`, of the digit set
`{manifest.digits_digest}`.

## Make it again

With mnistcompose {manifest.mnistcompose}:

```bash
{_commands(source, kind)}
```

## Licence

{manifest.license}.
"""


def _digits(source: Source) -> str:
    return (
        "MNIST" if is_mnist(source) else f"a digit set of {counted(source.manifest.classes, 'class')} that is not MNIST"
    )


def _commands(source: Source, kind: FormatName) -> str:
    """Shell commands that build and export the dataset, for the export's folder."""
    manifest, name = source.manifest, source.spec.name
    bundled = name in bundled_names() and load_spec(name).digest == source.spec.digest
    counts = " ".join(f"--{split} {manifest.splits[split].count}" for split in _COUNTED)
    build = f"mnistcompose build {name if bundled else 'layout.yaml'} --seed {manifest.seed} {counts} --out dataset"
    filled = [split for split, entry in manifest.splits.items() if entry.count]
    options = f" --split {','.join(source.splits)}" if len(source.splits) < len(filled) else ""
    options += f" --per-tar {source.per_tar}" if kind == "webdataset" and source.per_tar else ""
    digits = "" if is_mnist(source) else " --digits FOLDER"
    masks = " --masks" if manifest.masks else ""
    return f"{build}{digits}{masks}\nmnistcompose export dataset --format {kind}{options} -o again"
