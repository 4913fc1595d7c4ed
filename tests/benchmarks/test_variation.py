import pytest

from benchmarks.settings.variation import VARIATIONS, Variation
from falconet.model.archive import Serving
from falconet.serving.configuration import Configuration
from falconet.serving.profile import Profile


def test_each_variation_changes_something_but_the_first() -> None:
    shipped = Configuration.load().fit(Profile.choose("small", 2, 0))
    assert len({each.name for each in VARIATIONS}) == len(VARIATIONS)
    first, *others = VARIATIONS
    assert set(first.apply(shipped).lines) == set(shipped.lines)
    for each in others:
        changed = each.apply(shipped)
        same = set(changed.lines) == set(shipped.lines) and changed.logging == shipped.logging
        assert (
            not same or each.served() != Serving() or changed.environment != shipped.environment
        ), each.name


def test_what_a_variation_does() -> None:
    shipped = Configuration(
        ("# a=1", "a=1", "b=2", "vmargs=-Xmx1g -Dx=y"), Configuration.load().ports
    )
    made = Variation(
        "", "", {"a": None, "b": "3", "c": "4"}, {"-Dx=y": "", "-Xmx1g": "-Xmx1g -Dz=1"}
    )
    assert made.apply(shipped).lines == ("# a=1", "b=3", "c=4", "vmargs=-Xmx1g -Dz=1")
    with pytest.raises(ValueError, match="expected -Dgone among them"):
        Variation("", "", vmargs={"-Dgone": ""}).apply(shipped)
