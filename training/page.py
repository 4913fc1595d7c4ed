"""An HTML page with embedded images, and the same images as separate files."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { max-width: 62rem; margin: 2.5rem auto; padding: 0 1.5rem; color: #1d2733;
         font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
  h1 { font-size: 1.7rem; margin-bottom: .2rem; }
  h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #dde3ea;
       padding-bottom: .3rem; }
  .lead { font-size: 1.05rem; color: #51606f; margin-top: 0; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid #eef1f4; }
  th:first-child, td:first-child { text-align: left; }
  th { color: #51606f; font-weight: 600; }
  img { max-width: 100%; height: auto; }
  details { color: #51606f; } pre { font-size: 12px; overflow-x: auto; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
{% for section in sections %}
<h2>{{ section.title }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% if section.rows %}
<table>
<tr>{% for cell in section.rows[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.rows[1:] %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endif %}
{% if section.image %}
<img alt="{{ section.title }}" src="data:image/png;base64,{{ section.encoded }}">
{% endif %}
{% if section.folded %}
<details><summary>show</summary><pre>{{ section.folded }}</pre></details>
{% endif %}
{% endfor %}
</body>
</html>
"""


@dataclass(frozen=True)
class Section:
    """A part of a page: a title, followed by the other attributes that are set, in this order.

    Attributes:
        title: its heading.
        text: a paragraph.
        rows: a table, its heading first.
        image: a PNG.
        file: the image's name in the folder, without ``.png``.
        folded: text that is shown on demand.
    """

    title: str
    text: str = ""
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    image: bytes = b""
    file: str = ""
    folded: str = ""

    @property
    def encoded(self) -> str:
        return base64.b64encode(self.image).decode()


def write(folder: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write a self-contained ``index.html`` and the image files, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        if section.image:
            (folder / f"{section.file}.png").write_bytes(section.image)
    template = Environment(autoescape=True).from_string(TEMPLATE)
    path = folder / "index.html"
    path.write_text(template.render(title=title, lead=lead, sections=sections), encoding="utf-8")
    return path
