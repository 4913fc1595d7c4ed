"""The dashboard: that it can be drawn, and that a real Prometheus has what it asks for."""

import copy
import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from .conftest import Prometheus

# Fields of the Prometheus plugin, which are not in the schema of dashboards.
OF_PLUGINS = [
    ".templating.list[1].definition",
    *(f".annotations.list[0].{name}" for name in ("step", "titleFormat", "textFormat")),
]
COLUMNS = 24  # of Grafana's grid


@pytest.fixture(scope="module")
def dashboard(repository: Path) -> dict[str, Any]:
    text = (repository / "deploy" / "grafana" / "falconet.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """All that is drawn: of panels, and of the marks in them."""
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    return [each["expr"] for each in (*targets, *dashboard["annotations"]["list"])]


def filled_in(expression: str) -> str:
    """As Grafana does for all models."""
    filled = expression.replace("$model", ".*").replace("$__rate_interval", "1m")
    assert "$" not in filled, expression
    return filled


def test_panels_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 0
    assert len({panel["title"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    for place in places:
        assert place["x"] >= 0
        assert place["y"] >= 0
        assert place["w"] > 0
        assert place["h"] > 0
        assert place["x"] + place["w"] <= COLUMNS
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (a, b)


def test_all_of_it_is_of_the_chosen_source(dashboard: dict[str, Any]) -> None:
    source, model = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        *("datasource", "datasource", "prometheus"),
    )
    panels = dashboard["panels"]
    targets = [target for panel in panels for target in panel["targets"]]
    for part in (model, *panels, *targets, *dashboard["annotations"]["list"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_metrics_exist(
    dashboard: dict[str, Any], rules: list[dict[str, Any]], declared: set[str]
) -> None:
    known = declared | {rule["record"] for rule in rules if "record" in rule} | {"up", "ALERTS"}
    _, model = dashboard["templating"]["list"]
    (chosen,) = re.findall(r"label_values\((\w+), model_name\)", model["query"]["query"])
    assert chosen in declared
    for expression in expressions(dashboard):
        # What has a selector or a range, or is alone, is a metric.
        plain = re.sub(r'"[^"]*"', "", expression)
        plain = re.sub(r"\b(by|on) \([^)]*\)", "", plain)
        names = set(re.findall(r"(?<![\w:])([A-Za-z_][\w:]*)\s*[{\[]", plain))
        assert names, expression
        assert names <= known, expression


def test_lines_are_where_the_alerts_are(
    dashboard: dict[str, Any], rules: list[dict[str, Any]]
) -> None:
    limits = {}
    for rule in rules:
        over = re.fullmatch(r"(falconet:\w+:\w+) > ([\d.]+)", rule["expr"])
        if over is not None and "alert" in rule:
            limits[over[1]] = float(over[2])
    assert len(limits) == 5
    drawn = {}
    for panel in dashboard["panels"]:
        defaults = panel["fieldConfig"]["defaults"]
        if defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode") == "line":
            _, above = defaults["thresholds"]["steps"]
            for target in panel["targets"]:
                drawn[target["expr"].partition("{")[0]] = above["value"]
    assert drawn == limits


def test_grafanas_own_schema_has_all_of_it(dashboard: dict[str, Any]) -> None:
    """What Grafana would not know is lost when its types are read and written."""
    read = Dashboard.from_json(dashboard)
    written = json.loads(JSONEncoder().encode(read))
    assert missing(dashboard, written) == OF_PLUGINS
    misspelt = copy.deepcopy(dashboard)
    misspelt["panels"][0]["gridPosition"] = {}
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(misspelt)))
    assert missing(misspelt, written) == [*OF_PLUGINS, ".panels[0].gridPosition"]


def missing(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Paths of what is in one JSON value and not in another."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        lost = [f"{path}.{key}" for key in wanted if key not in found]
        return lost + [
            each
            for key in wanted
            if key in found
            for each in missing(wanted[key], found[key], f"{path}.{key}")
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            each
            for i, (one, other) in enumerate(zip(wanted, found, strict=True))
            for each in missing(one, other, f"{path}[{i}]")
        ]
    return [] if wanted == found else [path]


@pytest.mark.server
def test_there_is_something_to_draw(dashboard: dict[str, Any], prometheus: Prometheus) -> None:
    asked = [filled_in(each) for each in expressions(dashboard)]
    prometheus.wait_for(asked)
