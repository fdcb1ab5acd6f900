"""Parquet, with metadata that lets Hugging Face's `datasets` return images, numbers and factors."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..quantities import number_name
from ..storage.schema import BLOCK, UNITS, SampleSchema, Shard, SplitName, column_type
from .source import FACTORS, Source, files_of, key, png

if TYPE_CHECKING:
    import pyarrow as pa

DATA = "data/{split}-*.parquet"
TASKS = ("image-classification",)
ENCODES = True

_GROUPS = 500  # per file, of a thousand samples each: about 400 MB
_NAMED = 10_000  # numbers that the metadata lists by name


def check(_source: Source) -> None:
    """Check that pyarrow is installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise InputError("parquet needs pyarrow: pip install pyarrow") from None


def sample_bytes(_source: Source) -> int:
    """Bytes of the smallest PNG file and of the compressed factors."""
    return 200


def encode(_folder: Path, shard: Shard) -> "list[pa.Table]":
    """Make a row group of each thousand samples."""
    schema = _schema(shard.form, shard.origin.classes)
    return [_table(shard, slice(start, start + BLOCK), schema) for start in range(0, len(shard), BLOCK)]


def write(folder: Path, source: Source, split: SplitName, parts: "Iterator[list[pa.Table]]") -> None:
    """Write `data/train-00000-of-00001.parquet` and so on, in row groups of a thousand samples."""
    import pyarrow.parquet as pq

    (folder / "data").mkdir(exist_ok=True)
    total = -(-source.count(split) // (_GROUPS * BLOCK))
    schema = _schema(source.form, source.manifest.classes)
    for number, tables in files_of(chain.from_iterable(parts), _GROUPS):
        path = folder / "data" / f"{split}-{number:05d}-of-{total:05d}.parquet"
        with path.open("xb") as file, pq.ParquetWriter(file, schema, use_dictionary=False) as writer:
            for table in tables:
                writer.write_table(table)


def _schema(form: SampleSchema, classes: int) -> "pa.Schema":
    """Columns, and the features that `datasets` reads them as."""
    import pyarrow as pa

    types = {name: column_type(name, form) for name in FACTORS}
    fields = [
        pa.field("image", pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        pa.field("label", pa.int64()),
        *(pa.field(name, _nested(pa.from_numpy_dtype(np.dtype(kind)), shape)) for name, (kind, shape) in types.items()),
    ]
    features = {"image": {"_type": "Image"}, "label": _label(classes**form.slots)}
    features |= {name: _feature(np.dtype(kind).name, shape) for name, (kind, shape) in types.items()}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


def _label(numbers: int) -> dict[str, Any]:
    if numbers > _NAMED:
        return {"_type": "Value", "dtype": "int64"}
    return {"_type": "ClassLabel", "names": [number_name(number, numbers) for number in range(numbers)]}


def _nested(kind: "pa.DataType", shape: tuple[int, ...]) -> "pa.DataType":
    """Type of nested lists of that shape."""
    import pyarrow as pa

    for size in reversed(shape):
        kind = pa.list_(kind, size)
    return kind


def _feature(dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """The same type for `datasets`; its versions before 4 call a list a sequence."""
    feature: dict[str, Any] = {"_type": "Value", "dtype": dtype}
    for size in reversed(shape):
        feature = {"_type": "Sequence", "feature": feature, "length": size}
    return feature


def _table(shard: Shard, rows: slice, schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    images = shard.images[rows]
    first = shard.origin.first + rows.start
    pictures = [{"bytes": png(image), "path": f"{key(first + place)}.png"} for place, image in enumerate(images)]
    columns = [pa.array(pictures, schema.field("image").type), pa.array(shard.labels[rows])]
    columns += [_column(getattr(shard, name)[rows]) for name in FACTORS]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(array: NDArray[Any]) -> "pa.Array":
    """An array (n, ...) as lists, without copying it value by value."""
    import pyarrow as pa

    column = pa.array(np.ascontiguousarray(array).reshape(-1))
    for size in reversed(array.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def usage(source: Source) -> str:
    """Describe how Hugging Face's datasets reads the files."""
    split = source.splits[0]
    return (
        "```python\nfrom datasets import load_dataset\n\n"
        f'{split} = load_dataset(folder, split="{split}")\n'
        f"{split}[0]   # image: a Pillow image, label: the number, and the factors\n"
        "```"
    )


def record_set(source: Source, split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The images, the numbers, and the factors with one value per digit."""
    files = f"{split}-files"
    file_set = {
        "@type": "cr:FileSet",
        "@id": files,
        "name": files,
        "description": f"The files of {split}.",
        "encodingFormat": "application/x-parquet",
        "includes": f"data/{split}-*.parquet",
    }

    def column(name: str, **transform: str) -> dict[str, Any]:
        source = {"fileSet": {"@id": files}, "extract": {"column": name}}
        return {"source": source | ({"transform": transform} if transform else {})}

    lists = {"u": "sc:Integer", "i": "sc:Integer", "f": "sc:Float"}
    fields: list[dict[str, Any]] = [
        {
            "name": "image",
            "description": "The image.",
            "dataType": "sc:ImageObject",
            **column("image", jsonPath="bytes"),
        },
        {"name": "label", "description": "The number.", "dataType": "sc:Integer", **column("label")},
    ]
    for name in FACTORS:
        kind, shape = column_type(name, source.form)
        if len(shape) == 1:
            about = {"name": name, "description": f"Of each digit: {UNITS[name]}.", "repeated": True}
            fields.append({**about, "dataType": lists[np.dtype(kind).kind], **column(name)})
    return [file_set], fields
