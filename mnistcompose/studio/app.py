"""The studio's server: one page, its samples, and one file that it may write."""

import json
import math
import shlex
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..digits.source import BUNDLED, DigitSource
from ..errors import BuildError, InputError
from ..layout.model import LayoutSpec
from ..layout.problems import LayoutError, Problem
from ..layout.reading import parse_spec, read_fields
from ..rendering.draws import ABSENT
from ..storage.files import write_output
from .guard import Guard
from .samples import Samples, compose_samples
from .text import revise

MAX_BODY = 256 << 10  # bytes of a request; the longest useful layout, nine slots with full choices, takes half
MAX_INDEX = 10**12  # largest number of images of a split
MAX_SEED = 2**53 - 1  # the largest whole number that JavaScript holds exactly

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass
class Draft:
    """The layout that is being edited.

    Attributes
    ----------
    name
        Name of the layout in errors.
    text
        The YAML text as it was read, or last saved.
    target
        The only file that is written; None if the user named none.
    file
        The target as the user wrote it.
    digits
        Which digits are shown.
    seed
        Data seed that the page starts with.
    on_disk
        Content of the target as it was last read or written; None if there was no such file.
    beside
        Folder of the layout that was opened, where the CSV files that it names are.
    """

    name: str
    text: str
    target: Path | None = None
    file: Path | None = None
    digits: DigitSource = BUNDLED
    seed: int = 0
    on_disk: bytes | None = None
    beside: Traversable | None = None


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Wanted(_Request):
    """Request for samples of a layout, given as text; `fields` are the values of the form that change it."""

    text: str
    fields: dict[str, Any] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    first: Annotated[int, Field(ge=0, le=MAX_INDEX)] = 0


class _Saved(_Request):
    """Request to save a text to the file; with `replace`, even if another program has written to it."""

    text: str
    replace: bool = False


def make_app(draft: Draft, port: int, token: str) -> ASGIApp:
    """Make the server for one draft.

    Parameters
    ----------
    port
        Port of 127.0.0.1 that it will listen on; requests for another host or port are refused.
    token
        Secret that a request must contain: for the page as `?token=`, for the others as the header X-Studio-Token.
    """
    one = CapacityLimiter(1)  # a second layout waits until the first one is drawn

    async def layout(_: Request) -> Response:
        return JSONResponse(
            {
                "schema": LayoutSpec.model_json_schema(),
                "text": draft.text,
                "saved": None if draft.on_disk is None else draft.text,
                "name": draft.name,
                "file": draft.file and draft.file.name,
                "command": _build_command(draft),
                "seed": draft.seed,
            }
        )

    async def samples(request: Request) -> Response:
        wanted = _Wanted.model_validate_json(await _body(request))
        return Response(await to_thread.run_sync(_answer, draft, wanted, limiter=one), media_type="application/json")

    async def save(request: Request) -> Response:
        wanted = _Saved.model_validate_json(await _body(request))
        status, message = await to_thread.run_sync(_save, draft, wanted, limiter=one)
        return JSONResponse({"message": message}, status)

    page, parts = _page_files()
    routes = [Route(path, answer) for path, answer in {"/": page, **parts}.items()]
    routes += [
        Route("/layout", layout),
        Route("/samples", samples, methods=["POST"]),
        Route("/save", save, methods=["POST"]),
    ]
    handlers: Mapping[Any, Any] = {
        _TooLargeError: _too_large,
        ValidationError: _not_understood,
        ClientDisconnect: _gone,
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), port, token, parts)


def _page_files() -> tuple[_Endpoint, dict[str, _Endpoint]]:
    """The page, and its styles, scripts and icon by path; all are read once, so that no request reaches the disk."""
    folder = files(f"{__package__}.page")
    kinds = {entry: _KINDS.get(Path(entry.name).suffix) for entry in folder.iterdir()}
    found = {f"/{entry.name}": _always(entry.read_bytes(), kind) for entry, kind in kinds.items() if kind}
    return found.pop("/studio.html"), found


def _always(content: bytes, kind: str) -> _Endpoint:
    async def send(_: Request) -> Response:
        return Response(content, media_type=kind)

    return send


# --- requests ---------------------------------------------------------------------------------------------------------


class _TooLargeError(Exception):
    pass


async def _body(request: Request) -> bytes:
    """The request's body; reading stops when it exceeds MAX_BODY."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise _TooLargeError
    return bytes(body)


async def _too_large(*_: object) -> Response:
    return PlainTextResponse(
        f"the request is larger than {MAX_BODY >> 10} KiB; a layout is a short text",
        413,
        headers={"Connection": "close"},
    )


async def _not_understood(_: Request, error: ValidationError) -> Response:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"])) or "the request"
    return PlainTextResponse(f"{where}: {problem['msg']}", 422)


async def _gone(*_: object) -> Response:
    return Response(status_code=400)  # nobody reads it


# --- the answers ----------------------------------------------------------------------------------------------------


def _answer(draft: Draft, wanted: _Wanted) -> bytes:
    """Text, fields, and the samples or what is wrong, as JSON."""
    text, fields = wanted.text, wanted.fields
    try:
        if fields is not None:
            text = revise(text, fields)
        spec = parse_spec(text, draft.name, draft.beside)
        fields = spec.model_dump(mode="json", exclude_unset=True)
        if "numbers" in fields:
            fields["numbers"] = read_fields(text)["numbers"]  # the name of a CSV, not what it holds
        result = _pictures(compose_samples(spec, wanted.first, wanted.seed, draft.digits))
    except LayoutError as error:
        fields = error.data if isinstance(error.data, dict) else None
        result = {"problems": [vars(problem) for problem in error.problems]}
    except InputError as error:
        result = {"problems": [vars(Problem((), None, str(error)))]}
    return json.dumps(_finite({"text": text, "fields": fields, **result}), allow_nan=False).encode()


def _pictures(samples: Samples) -> dict[str, Any]:
    return {
        "problems": [],
        "images": b64encode(samples.images.data).decode(),
        "shape": samples.images.shape[1:],
        "boxes": samples.boxes.round(2).tolist(),
        "digits": [[digit for digit in own if digit != ABSENT] for own in samples.digits.tolist()],
        "overlap": samples.overlap.round(4).tolist(),
        "classes": samples.classes,
    }


def _finite(value: Any) -> Any:
    """Write infinity and NaN as text: YAML has them, JSON does not."""
    match value:
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list():
            return [_finite(each) for each in value]
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


def _save(draft: Draft, wanted: _Saved) -> tuple[int, str]:
    """Write the file that the user named; return the HTTP status, and a line for the user."""
    if draft.target is None:
        return 409, "not saved: no file was named; start the studio with --save FILE"
    try:
        parse_spec(wanted.text, draft.name, draft.target.parent)  # where a CSV that it names must be
    except InputError as error:
        return 422, f"not saved: {str(error).partition(chr(10))[0]}; the file is unchanged"
    content = wanted.text.encode()
    try:
        if not wanted.replace and read_target(draft.target) != draft.on_disk:
            return 409, f"not saved: another program has changed {draft.target.name}; save again to replace it"
        write_output(draft.target, content)
    except BuildError as error:
        return 500, str(error)
    draft.on_disk, draft.text = content, wanted.text
    return 200, f"saved {draft.target.name}"


def read_target(path: Path) -> bytes | None:
    """Content of the file to be written, at most MAX_BODY + 1 bytes of it; None if there is no such file.

    Raises
    ------
    BuildError
        The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BODY + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BuildError(f"{path}: cannot read: {error.strerror}") from None


def _build_command(draft: Draft) -> str | None:
    """Command that makes the dataset on the page; the page adds its seed."""
    digits = draft.digits
    options = [
        *(["--digits", str(digits.folder)] if digits.folder else []),
        *(["--skip-blank"] if digits.skip_blank else []),
        *(["--labels-from", str(digits.labels_from)] if digits.labels_from else []),
        *(["--invert"] if digits.invert else []),
    ]
    return shlex.join(["mnistcompose", "build", str(draft.file), *options]) if draft.file else None
