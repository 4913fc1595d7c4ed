"""falconet migrate"""

import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from PIL import Image
from rich.console import Console
from rich.progress import track

from falconet.handler import ENTRY
from falconet.model.archive import PROOF
from falconet.model.archive import archive as pack
from falconet.model.migration import MigrationError
from falconet.model.samples import generated_images, in_folder, keep, paths, rotated_exif
from falconet.native import available_cores
from falconet.native.formats import DEFAULT

from .archive import allow_option
from .calibration_options import calibrate_model, calibration_options
from .trial import try_out

if TYPE_CHECKING:
    from falconet.model.agreement import Agreement
    from falconet.model.archive_process import ArchiveProcess

# Images that are made where none are given, and what TorchServe's handler resizes to.
MADE, UNKNOWN_SIZE = 96, (256, 256)
KINDS = (
    *(("JPEG", "RGB"), ("PNG", "RGB"), ("JPEG", "L"), ("PNG", "L"), ("WEBP", "RGB")),
    *(("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "CMYK"), ("GIF", "P"), ("PNG", "LA")),
)
# Some JPEGs are stored as a phone stores them that is held upright.
TURNED = 20
# Requests to one handler before it is the other's turn, and before any counts.
TURN, WARM_UP = 16, 8
# Images of a folder that are compared; of which as many may be asked about until one is answered;
# and samples that are packed.
MOST, FIRST, KEPT = 10_000, 96, 16


@click.command()
@click.argument("old", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Archive to write; the name without .mar is the model's name.",
)
@click.option("--version", help="Version of the model.  [default: that of OLD]")
@click.option(
    "--samples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of images like the training images. This command compares the predictions on "
    "them, and every deploy sends some as test requests.  [default: generated images]",
)
@click.option(
    "--size",
    type=click.IntRange(1),
    help="Side of the network's square input in pixels, for a handler that does not resize.  "
    "[default: that of OLD]",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Compute threads of each handler in the comparison.  [default: one per core]",
)
@allow_option
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Maximum number of requests in one forward pass.  [default: that of OLD, or 16]",
)
@click.option(
    "--explanations",
    is_flag=True,
    help="Enable POST /explanations/MODEL, as --explanations of falconet archive does.",
)
@calibration_options
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def migrate(
    old: Path,
    output: Path,
    version: str | None,
    samples: Path | None,
    size: int | None,
    threads: int | None,
    allow: tuple[str, ...],
    batch_size: int | None,
    explanations: bool,
    calibrate: Path | None,
    least_agreement: float,
    as_json: bool,
) -> None:
    """Converts an archive of TorchServe's image_classifier, and checks that the responses agree.

    \b
    falconet migrate old.mar --samples images/ --output build/model_store/resnet.mar

    The new archive responds in the form of the old one, {"tabby": 0.41, ...}, and is served in
    float32. The command runs both handlers, each in its own process, with the code in OLD, and
    compares their responses in float32. With --calibrate, the new archive may be served in int8 or
    bfloat16; its probabilities then differ slightly from the old ones.
    """
    import torchvision  # noqa: F401, which the old handler needs; its absence names the extra

    from falconet.model.archive_process import ArchiveProcess
    from falconet.model.migration import take_over, unpack

    shape = None if size is None else (size, size)
    files = paths(samples, (*DEFAULT, *allow), MOST) if samples else []
    if samples and not files:
        raise click.UsageError(f"{samples}: expected a folder with images, found none")
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder, packed = Path(temporary, "model"), Path(temporary, output.name)
        old_folder, new_folder = Path(temporary, "old"), Path(temporary, "new")
        was = unpack(old, old_folder)
        with ArchiveProcess(old_folder, threads or available_cores()) as process:
            images: Sequence[Path | bytes] = files
            if not files:
                images = generated_files(shape or UNKNOWN_SIZE, same_size=shape is not None)
            take_over(was, process, folder, read(images[:FIRST]), shape, allow)
            if samples:
                keep(in_folder(samples, (*DEFAULT, *allow), KEPT), folder)
            serving = replace(
                was.serving,
                batch_size=batch_size or was.serving.batch_size,
                explanations=explanations,
            )
            trial = try_out(folder, serving)

            def write(path: Path) -> None:
                pack(
                    folder,
                    path,
                    handler=ENTRY,
                    version=version or was.version,
                    serving=trial.serving,
                    known=trial.known,
                )

            write(packed)
            unpack(packed, new_folder)
            with ArchiveProcess(new_folder, threads or available_cores()) as new_process:
                agreement = compared(process, new_process, images, quiet=as_json)
        if not agreement.holds:
            raise MigrationError(
                f"the responses of the new archive differ from the old ones: {agreement}"
            )
        (folder / PROOF).write_text(json.dumps(agreement.to_json(), indent=2) + "\n")
        calibration = None
        if calibrate is not None:
            calibration = calibrate_model(folder, calibrate, least_agreement, quiet=as_json)
            trial = try_out(folder, replace(serving, precision="auto"))
        write(output)
    if as_json:
        answer = agreement.to_json()
        if calibration is not None:
            answer["calibration"] = calibration.to_json()
        click.echo(json.dumps(answer))
        return
    click.echo(str(agreement))
    if was.ignored:
        click.echo(f"ignored fields of the old model-config.yaml: {', '.join(was.ignored)}")
    if not files:
        click.echo("compared on generated images; to compare on real ones, use --samples")
    click.echo(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")


def compared(
    old: "ArchiveProcess",
    new: "ArchiveProcess",
    images: "Sequence[Path | bytes]",
    *,
    quiet: bool,
) -> "Agreement":
    """Compare the responses of two handlers to the same images, in alternating batches."""
    from falconet.model.agreement import Agreement

    agreement = Agreement()
    for process in (old, new):  # the first requests optimize a network
        process.ask(read(images[:WARM_UP]))
    turns = range(0, len(images), TURN)
    for start in track(turns, "comparing", console=Console(stderr=True), disable=quiet):
        some = read(images[start : start + TURN])
        agreement.add([kind(each) for each in some], old.ask(some), new.ask(some))
    return agreement


def read(images: "Sequence[Path | bytes]") -> list[bytes]:
    """Image files, read from the disk when they are needed."""
    return [each.read_bytes() if isinstance(each, Path) else each for each in images]


def kind(file: bytes) -> str:
    """Format and mode of an image, in Pillow's names."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            return f"{image.format} {image.mode}"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "damaged"


def generated_files(size: tuple[int, int], count: int = MADE, *, same_size: bool) -> list[bytes]:
    """Generated images in the formats and modes that clients send.

    Args:
        size: ``(height, width)``.
        count: how many.
        same_size: whether all have this size, or various sizes around it.
    """
    files = []
    for i, pixels in enumerate(generated_images(size, count)):
        format, mode = KINDS[i % len(KINDS)]
        image = Image.fromarray(pixels)
        if same_size:
            image = image.resize(size[::-1])
        if mode.endswith("A"):  # from clear to opaque
            image = image.convert("RGBA")
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        exif = Image.Exif() if i % TURNED else rotated_exif()
        file = io.BytesIO()
        image.convert(mode).save(file, format, exif=exif)
        files.append(file.getvalue())
    return files
