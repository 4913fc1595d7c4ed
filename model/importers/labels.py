"""Labels as others write them down."""

import json
from pathlib import Path

from .model import unique


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a file: a line for each, or JSON.

    JSON is a list, or an object of labels by number, as ``index_to_name.json`` and ``id2label``
    have it, or of numbers by label, as ``class_to_idx``; where a label is a list itself, its last
    entry counts, as for TorchServe.

    Raises:
        ValueError: it is none of these.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() != ".json":
        return unique([line.strip() for line in text.splitlines() if line.strip()])
    content = json.loads(text)
    if isinstance(content, dict):
        content = content.get("id2label", content.get("object_type_names", content))
    if isinstance(content, dict):
        if sorted(map(str, content.values())) == sorted(map(str, range(len(content)))):
            content = {str(number): name for name, number in content.items()}
        try:
            content = [content[str(i)] for i in range(len(content))]
        except KeyError as error:
            raise ValueError(
                f"{path}: expected a label for each number, {error} is missing"
            ) from None
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of labels, or an object of them by number")
    names = [each[-1] if isinstance(each, list) and each else each for each in content]
    return unique([str(each) for each in names])
