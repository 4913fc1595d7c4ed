"""The value of a recipe's field, as text on a command line."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin


def parse(name: str, text: str, wanted: Any) -> Any:
    """Convert text to a value of a field's type.

    Args:
        name: of the field, for errors.
        text: tuples are written ``64,256,256``, an empty one as nothing.
        wanted: the field's type.

    Raises:
        ValueError: the text is not a value of that type.
    """
    kind = get_origin(wanted)
    if kind is tuple:
        parts = text.split(",") if text else []
        types = get_args(wanted)
        if types[-1] is not Ellipsis and len(types) != len(parts):
            raise ValueError(f"{name}: expected {len(types)} values, got {text!r}")
        return tuple(parse(name, part, types[0]) for part in parts)
    if kind is Literal:
        if text not in get_args(wanted):
            raise ValueError(f"{name}: expected one of {', '.join(get_args(wanted))}, got {text!r}")
        return text
    assert kind not in (Union, UnionType), f"{name} has several types"
    try:
        if wanted is bool:
            return {"true": True, "false": False}[text.lower()]
        return wanted(text)
    except (KeyError, ValueError):
        expected = "true or false" if wanted is bool else wanted.__name__
        raise ValueError(f"{name}: expected {expected}, got {text!r}") from None
