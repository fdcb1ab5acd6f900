"""Layouts as YAML: read strictly, with the line of each field, and written."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import yaml

from .problems import FieldPath, LayoutError, Problem, one_line

MAX_BYTES = 1 << 20


def dump_fields(fields: Mapping[str, Any]) -> str:
    """YAML text of a layout's fields, without checking them."""
    return yaml.dump(dict(fields), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


_TAG = "tag:yaml.org,2002:"
_CORE: list[tuple[str, str, str, Callable[[str], Any]]] = [  # tag, form, first characters, and value of a plain scalar
    ("null", r"", "", lambda _: None),
    ("null", r"~|null|Null|NULL", "~nN", lambda _: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    ("int", r"[-+]?[0-9]+", "-+0123456789", int),
    ("int", r"0o[0-7]{1,21}", "0", lambda text: int(text[2:], 8)),
    ("int", r"0x[0-9a-fA-F]{1,16}", "0", lambda text: int(text[2:], 16)),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789", float),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.", lambda text: float(text.replace(".", ""))),
]


class _Loader(yaml.SafeLoader):
    """SafeLoader of YAML 1.2's core schema, which JSON is part of.

    PyYAML's own schema is that of YAML 1.1, in which 010 is 8, 1:30 is 90, `no` is false and 1e-2 is text. Aliases (a
    short file could expand to gigabytes), duplicate keys and other tags are refused.
    """

    yaml_constructors: ClassVar[dict[str | None, Callable[..., Any]]] = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag in (None, f"{_TAG}seq", f"{_TAG}map")  # None is for unknown tags, which it refuses
    }

    def scan_to_next_token(self) -> None:
        super().scan_to_next_token()
        while self.flow_level and self.peek() == "\t":
            self.forward()
            super().scan_to_next_token()

    def construct_core(self, node: yaml.Node) -> Any:
        """Value of a scalar with one of the core schema's tags."""
        text, tag = str(self.construct_scalar(node)), node.tag.removeprefix(_TAG)  # type: ignore[arg-type]
        values = [value for kind, form, _, value in _CORE if kind == tag and re.fullmatch(form, text)]
        try:
            return values[0](text)
        except (IndexError, ValueError):
            problem = f"{one_line(text, 40)!r} is not a valid {tag} of YAML 1.2"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None

    def construct_text(self, node: yaml.Node) -> str:
        """Text, in which JSON may write a character as two surrogates."""
        text = str(self.construct_scalar(node))  # type: ignore[arg-type]
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            problem = f"{text!a:.40} holds half a character: a surrogate without its pair"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed in a layout", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                shown = (
                    f"{key.value!r:.40} is one in quotes only"
                    if isinstance(key, yaml.ScalarNode)
                    else "a list or mapping is not"
                )
                raise yaml.MarkedYAMLError(problem=f"a key should be a word; {shown}", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}  # those of YAML 1.1 are not inherited
_Loader.add_constructor(f"{_TAG}str", _Loader.construct_text)
for _kind in {kind for kind, *_ in _CORE}:
    _Loader.add_constructor(f"{_TAG}{_kind}", _Loader.construct_core)


def on_one_line(value: Mapping[str, Any] | Sequence[Any]) -> bool:
    """Whether a value is a short list or a quantity, which people write on one line."""
    if isinstance(value, Mapping):
        return (
            not {"uniform", "normal", "choice", "width", "gaussian", "impulse", "share", "long_tail"}.isdisjoint(value)
            and "crop" not in value
        )
    return not any(isinstance(each, dict) for each in value)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that writes short values on one line, and quotes text that YAML 1.1 or 1.2 would read as a number."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style or on_one_line(sequence))

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style or on_one_line(mapping))

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


for _kind, _form, _first, _ in _CORE:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"(?:{_form})\Z"), list(_first) or [""])


def _node_lines(node: yaml.Node | None, path: FieldPath = ()) -> Iterator[tuple[FieldPath, int]]:
    """Line (from 1) of every field, by its path."""
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _node_lines(value, (*path, key.value))
            yield (*path, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _node_lines(value, (*path, index))


def parse_yaml(content: bytes | str, source: str) -> tuple[Any, dict[FieldPath, int]]:
    """Fields of a YAML document, and the line of each.

    Raises
    ------
    LayoutError
        The text is not valid YAML, or uses what a layout may not.
    """
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
        return data, dict(_node_lines(node))
    except yaml.MarkedYAMLError as error:
        mark, message = _in_plain_words(error)
        raise LayoutError(source, (Problem((), mark.line + 1 if mark else None, message),)) from None
    except RecursionError:
        raise LayoutError(source, (Problem((), None, "nested too deeply for a layout"),)) from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        message = f"not valid YAML text: {one_line(str(error))}"
        raise LayoutError(source, (Problem((), None, message),)) from None


_YAML_WORDS = {
    "character '\\t'": "a tab; YAML is indented with spaces",
    "mapping values are not allowed": "a ':' that does not fit here; is one missing on the line before?",
    "expected <block end>": "starts further to the left or to the right than the lines that it belongs to",
    "could not find expected ':'": "a ':' is missing, or a quote is not closed",
}
_YAML_WORDS_AT_ITS_BEGIN = {
    "expected ',' or ": "a bracket that is opened here is not closed, or a ',' between two of its items is missing",
    "unexpected end of stream": "a quote that is opened here is not closed",
}


def _in_plain_words(error: yaml.MarkedYAMLError) -> tuple[yaml.Mark | None, str]:
    """Position of a YAML error, and what is wrong there."""
    problem, found = error.problem or "", error.problem_mark or error.context_mark
    for mark, known in (found, _YAML_WORDS), (error.context_mark or found, _YAML_WORDS_AT_ITS_BEGIN):
        for jargon, words in known.items():
            if jargon in problem:
                return mark, words
    return found, one_line(f"{error.context or ''} {problem}")
