"""Turns the mapping that YAML and the command line compose into what a command takes, checking every type.

Only what configurations are made of: bool, int, float, str, None, Literal, unions, tuples, mappings, dataclasses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from inspect import signature
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sfvgen_planner.errors import BadOption, UnknownName, closest

C = TypeVar("C")


def bound(function: Callable[..., Any], values: Mapping[str, Any], place: str) -> Callable[[], Any]:
    """The call `function` from `values`: it takes one dataclass, or has its options as plain parameters."""
    hints = get_type_hints(function)
    parameters = signature(function).parameters
    kinds = [hints[name] for name in parameters]
    if len(kinds) == 1 and is_dataclass(kinds[0]):
        config = build(kinds[0], values, place)  # type: ignore[arg-type]
        return lambda: function(config)
    _refuse_unknown(values, tuple(parameters), place)
    arguments = {key: _fit(value, hints[key], key, place) for key, value in values.items()}
    return lambda: function(**arguments)


def build(config_class: type[C], values: Any, place: str) -> C:
    """An instance of `config_class` from plain values; `place` says in errors whose options these are."""
    if not isinstance(values, Mapping):
        raise BadOption(f"{values!r} for {place}", "a mapping of options", f"See: {place} --help")
    hints = get_type_hints(config_class)
    known = {field.name: field for field in fields(config_class)}  # type: ignore[arg-type]
    _refuse_unknown(values, tuple(known), place)
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise BadOption(f"no {name!r}", f"a value for it in {place}", f"Add {name}=...")
    return config_class(**{key: _fit(value, hints[key], str(key), place) for key, value in values.items()})


def _refuse_unknown(values: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in values:
        if key not in known:
            raise UnknownName(f"option {key!r}", f"an option of {place}", closest(str(key), known))


def _fit(value: Any, kind: Any, key: str, place: str) -> Any:
    """`value` as `kind`, or an error that names the option."""
    if kind is Any:
        return value
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _fit_any(value, kind, key, place)
    if origin is Literal:
        if value not in get_args(kind):
            known = tuple(str(choice) for choice in get_args(kind))
            raise UnknownName(f"{key}={value}", f"one of {list(known)}", closest(str(value), known))
        return value
    if origin is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        return _fit_tuple(value, kind, key, place)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        of_key, of_value = get_args(kind)
        return {_fit(k, of_key, key, place): _fit(v, of_value, f"{key}.{k}", place) for k, v in value.items()}
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        return build(kind, value, place)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # A bool is an int to Python, but `episodes=true` is a mistake.
    if origin is None and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise BadOption(f"{key}={value}", _named(kind), f"See: {place} --help")


def _fit_any(value: Any, kind: Any, key: str, place: str) -> Any:
    for choice in get_args(kind):
        try:
            return _fit(value, choice, key, place)
        except (BadOption, UnknownName):
            continue
    raise BadOption(f"{key}={value}", _named(kind), f"See: {place} --help")


def _fit_tuple(value: Sequence[Any], kind: Any, key: str, place: str) -> tuple[Any, ...]:
    kinds = get_args(kind)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_fit(item, kinds[0], key, place) for item in value)
    if len(kinds) != len(value):
        raise BadOption(f"{key} of {len(value)} values", f"{len(kinds)} values", f"See: {place} --help")
    return tuple(_fit(item, one, key, place) for item, one in zip(value, kinds, strict=True))


def _named(kind: Any) -> str:
    """A type in a user's words."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", NoneType: "null"}
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return " or ".join(_named(choice) for choice in get_args(kind))
    if origin is Literal:
        return f"one of {list(get_args(kind))}"
    if origin is tuple:
        return f"a list, key=[a,b], each {_named(get_args(kind)[0])}"
    if origin in (dict, Mapping):
        return "a mapping, key={a:1,b:2}"
    return words.get(kind, "a mapping of options")
