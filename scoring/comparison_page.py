"""The images with the largest changes, as a page of HTML that needs no other file."""

import base64
import io
from collections.abc import Iterator, Sequence

from jinja2 import Environment
from PIL import Image

from falconet.native.budget import PIXELS
from falconet.native.decode import Decoder
from falconet.native.errors import ImageError

from .comparison import Change, Comparison
from .part import Part
from .readers import read

SIDE = 224  # pixels of an image on the page, at most
LISTED = 20  # label changes in the table

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ old }} and {{ new }}</title>
<style>
  body { max-width: 72rem; margin: 2.5rem auto; padding: 0 1.5rem; color: #1d2733;
         font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
  th, td { padding: .25rem 1.2rem .25rem 0; text-align: left; border-bottom: 1px solid #dde3ea; }
  .images { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr));
            gap: 1.5rem; }
  figure { margin: 0; } img { max-width: 100%; image-rendering: auto; }
  figcaption { overflow-wrap: anywhere; font-size: 13px; }
</style>
</head>
<body>
<h1>{{ old }} and {{ new }}</h1>
<p>{{ "{:,}".format(found.images) }} images. Both models predict
{{ "{:,}".format(found.predicted) }} of them.
{{ "{:.2%}".format(found.agreement) }} keep their label.</p>
{% if found.labeled %}
<p>{{ "{:,}".format(found.labeled) }} images are labeled. Accuracy:
{{ "{:.2%}".format(found.correct_old / found.labeled) }} with {{ old }},
{{ "{:.2%}".format(found.correct_new / found.labeled) }} with {{ new }}.</p>
{% endif %}
{% if changes %}
<h2>Label changes</h2>
<table>
<tr><th>{{ old }}</th><th>{{ new }}</th><th>images</th></tr>
{% for (before, after), count in changes %}
<tr><td>{{ before }}</td><td>{{ after }}</td><td>{{ "{:,}".format(count) }}</td></tr>
{% endfor %}
</table>
{% endif %}
<h2>Largest changes of a probability</h2>
<div class="images">
{% for each in images %}
<figure>
<img alt="" src="data:image/jpeg;base64,{{ each.image }}">
<figcaption><b>{{ "{:.2f}".format(each.change.size) }}</b>
{{ each.change.old.label }} ({{ "{:.1%}".format(each.change.old.probability) }}) &rarr;
{{ each.change.new.label }} ({{ "{:.1%}".format(each.change.new.probability) }})<br>
{{ each.change.old.key }}</figcaption>
</figure>
{% endfor %}
</div>
</body>
</html>
"""


def page(
    old: str, new: str, found: Comparison, parts: Sequence[Part], formats: Sequence[str]
) -> str:
    """The page.

    Args:
        old, new: names of the models.
        found: their comparison.
        parts: from which the images are read.
        formats: of images that the models decode.
    """
    decoder = Decoder(tuple(formats), "exif")
    images = [
        {"change": change, "image": image}
        for change, image in sorted(_images(found.largest, parts, decoder), reverse=True)
    ]
    template = Environment(autoescape=True).from_string(TEMPLATE)
    changes = found.label_changes.most_common(LISTED)
    return template.render(old=old, new=new, found=found, changes=changes, images=images)


def _images(
    changes: Sequence[Change], parts: Sequence[Part], decoder: Decoder
) -> Iterator[tuple[Change, str]]:
    """Small JPEGs, in base64; of images that are still there."""
    for number in {each.part for each in changes}:
        wanted = {each.row: each for each in changes if each.part == number}
        for row, item in enumerate(read(parts[number])):
            if row not in wanted or isinstance(item.data, Exception):
                continue
            try:
                pixels = decoder.open(item.data, PIXELS).decode()
            except ImageError:
                continue
            image = Image.fromarray(pixels)
            image.thumbnail((SIDE, SIDE))
            file = io.BytesIO()
            image.save(file, "JPEG", quality=90)
            yield wanted[row], base64.b64encode(file.getvalue()).decode()
