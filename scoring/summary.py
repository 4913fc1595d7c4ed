"""Counts of what was scored."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .row import Row


@dataclass
class Summary:
    """Counts of images.

    Attributes:
        images: all of them.
        errors: those without a prediction, by the HTTP status that a server gives them; 0 for
            files that could not be read.
        classes: the others, by their best class.
    """

    images: int = 0
    errors: Counter[int] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Summary":
        found = cls()
        for row in rows:
            found.images += 1
            if row.label is None:
                found.errors[row.status] += 1
            else:
                found.classes[row.label] += 1
        return found

    def add(self, other: "Summary") -> None:
        """Count what the other one counts as well."""
        self.images += other.images
        self.errors.update(other.errors)
        self.classes.update(other.classes)

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "errors": {str(status): count for status, count in sorted(self.errors.items())},
            "classes": dict(self.classes.most_common()),
        }

    @classmethod
    def from_json(cls, text: str | bytes) -> "Summary":
        """What :meth:`to_json` gave, as text."""
        content = json.loads(text)
        errors = Counter({int(status): count for status, count in content["errors"].items()})
        return cls(content["images"], errors, Counter(content["classes"]))
