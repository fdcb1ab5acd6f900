"""Croissant metadata of an export: its files with their hashes, and how records are read from them."""

import json
import os
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..digits.bank import MNIST_LICENSE
from ..errors import InputError
from ..quantities import counted, counted_by_name
from ..storage.digests import file_digest
from ..storage.schema import SplitName
from .formats import Format, FormatName
from .source import Source

PAPER = "https://arxiv.org/abs/1703.01229"
LICENSE_URL = "https://creativecommons.org/licenses/by-sa/3.0/"

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_ENCODINGS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".npz": "application/zip",
    ".parquet": "application/x-parquet",
    ".tar": "application/x-tar",
    ".yaml": "application/yaml",
}


def croissant(
    folder: Path, source: Source, kind: FormatName, fmt: Format, date: str, leave_out: Collection[str] = ()
) -> str:
    """JSON-LD text that describes an export.

    PNG files are described as a set; every other file is listed with its hash.

    Parameters
    ----------
    folder
        Folder of the export's files.
    date
        Day of the export, as YYYY-MM-DD.
    leave_out
        Names of files that are not data.
    """
    objects = [
        _file_object(path, folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".png" and path.name not in leave_out
    ]
    sets, records = [], []
    for split in source.splits:
        file_sets, fields = fmt.record_set(source, split)
        sets += file_sets
        records += [_record_set(split, fields)] if fields else []
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": source.spec.name,
        "description": describe(source, kind),
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "citeAs": f"Deep Collaborative Learning for Visual Recognition, {PAPER}",
        "license": LICENSE_URL if is_mnist(source) else source.manifest.license,
        "creator": {"@type": "sc:Organization", "name": "mnistcompose"},
        "url": PAPER,
        "version": "1.0.0",
        "datePublished": date,
        "keywords": ["MNIST", "multi-digit", "synthetic"],
        "distribution": objects + sets,
        "recordSet": records,
        **_provenance(source),
    }
    return json.dumps(described, indent=1) + "\n"


def _provenance(source: Source) -> dict[str, Any]:
    """What determines the images, in the terms of the W3C's PROV-O, as Croissant 1.1 recommends (section Provenance).

    Layout and digit set have the SHA-256 of their content as their value, the seed has itself.
    """
    manifest = source.manifest
    layout = _entity("layout", f"layout {source.spec.name}", manifest.spec_digest)
    digits = _entity("digits", "MNIST" if is_mnist(source) else "digit set", manifest.digits_digest)
    return {
        "prov:wasDerivedFrom": [{"@id": digits["@id"]}, {"@id": layout["@id"]}],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": "mnistcompose build",
            "prov:used": [layout, digits, _entity("seed", "data seed", manifest.seed)],
            "prov:wasAssociatedWith": {
                "@type": "prov:SoftwareAgent",
                "prov:label": "mnistcompose",
                "prov:value": manifest.mnistcompose,
            },
        },
    }


def _entity(name: str, label: str, value: str | int) -> dict[str, Any]:
    return {"@type": "prov:Entity", "@id": f"provenance/{name}", "prov:label": label, "prov:value": value}


def is_mnist(source: Source) -> bool:
    """Whether the digits are MNIST's."""
    return source.manifest.license == MNIST_LICENSE


def describe(source: Source, kind: FormatName) -> str:
    """Describe an export in one paragraph."""
    manifest = source.manifest
    digests = "; ".join(f"{split} {manifest.splits[split].digest}" for split in source.splits)
    images = counted_by_name({split: source.count(split) for split in source.splits}, "image")
    about = f" {source.spec.description}" if source.spec.description else ""
    return (
        f"{source.spec.name}: numbers of {source.lengths}.{about} {images} of {source.pixels}, "
        f"{counted(source.numbers, 'class')}, as {kind}, made by mnistcompose {manifest.mnistcompose} with seed "
        f"{manifest.seed}. SHA-256 of the splits' images and labels: {digests}."
    )


def export_date() -> str:
    """Day of the export, as YYYY-MM-DD: today, or that of SOURCE_DATE_EPOCH, with which an export is reproducible.

    Raises
    ------
    InputError
        SOURCE_DATE_EPOCH is not a time.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if not given:
        return datetime.now(UTC).date().isoformat()
    try:
        return datetime.fromtimestamp(int(given), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        raise InputError(f"SOURCE_DATE_EPOCH = {given!r:.80}: should be a number of seconds since 1970") from None


def _file_object(path: Path, folder: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": path.name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": _ENCODINGS.get(path.suffix, "application/octet-stream"),
        "sha256": file_digest(path),
    }


def _record_set(split: SplitName, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"The samples of {split}.",
        "field": [{"@type": "cr:Field", "@id": f"{split}/{field['name']}", **field} for field in fields],
    }
