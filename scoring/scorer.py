"""The handler's classifier on images that come one after the other."""

from collections.abc import Iterable, Iterator
from itertools import islice

from falconet.handler.classifier import Classifier, Prediction
from falconet.handler.errors import request_error
from falconet.native.errors import ImageError

from .part import Item
from .row import UNREADABLE, Row, in_utf8

BATCH = 16


class Scorer:
    """One model in this process, with one thread.

    Args:
        classifier: of the model.
        max_pixels: of an image.
    """

    def __init__(self, classifier: Classifier, max_pixels: int) -> None:
        self._classifier, self._max_pixels = classifier, max_pixels
        self._rows = classifier.batch(BATCH)

    def score(self, items: Iterable[Item]) -> Iterator[Row]:
        """A row for each image, in order."""
        waiting = iter(items)
        while some := list(islice(waiting, BATCH)):
            yield from self._score(some)

    def _score(self, items: list[Item]) -> list[Row]:
        errors: dict[int, Row] = {}
        good: list[int] = []
        for i, item in enumerate(items):
            row = self._rows[len(good) : len(good) + 1]
            try:
                if isinstance(item.data, Exception):
                    raise item.data
                image = self._classifier.open(item.data, self._max_pixels)
                self._classifier.prepare([self._classifier.decode(image)], row)
                good.append(i)
            except ImageError as error:
                refused = request_error(error)
                errors[i] = Row.failed(item.key, refused.message, refused.status.value)
            except OSError as error:
                errors[i] = Row.failed(item.key, str(error), UNREADABLE)
            except Exception as error:
                status = 422 if error is item.data else 500
                errors[i] = Row.failed(item.key, str(error) or type(error).__name__, status)
        found = dict(zip(good, self._predict(len(good)), strict=True))
        return [
            errors[i] if i in errors else _predicted(item.key, found[i])
            for i, item in enumerate(items)
        ]

    def _predict(self, count: int) -> list[list[Prediction] | str]:
        """Of the first rows; if that fails, of each by itself."""
        try:
            return list(self._classifier.predict(self._rows[:count]))
        except Exception:
            return [self._predict_alone(i) for i in range(count)]

    def _predict_alone(self, row: int) -> list[Prediction] | str:
        try:
            return self._classifier.predict(self._rows[row : row + 1])[0]
        except Exception as error:
            return f"the model failed: {error}"


def _predicted(key: str, found: list[Prediction] | str) -> Row:
    if isinstance(found, str):
        return Row.failed(key, found, 500)
    labels = [each.label for each in found]
    probabilities = [round(each.probability, 6) for each in found]
    return Row(in_utf8(key), labels[0], probabilities[0], labels, probabilities, None, 200)
