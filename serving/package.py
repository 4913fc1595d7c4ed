"""An archive as it is before a server gets it: complete, unchanged, and of whom."""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from falconet.model import samples
from falconet.model.archive import CHECKSUMS, CONFIG, MANIFEST, check_version
from falconet.model.samples import Sample
from falconet.model.spec import FILE_NAME as SPEC
from falconet.model.spec import Spec

from .errors import ServerError
from .store import check_name


@dataclass(frozen=True)
class Package:
    """What is known of an archive whose checksums are right.

    The manifest has none, as torch-model-archiver writes it last; what it names has.

    Attributes:
        model: the name it is served under.
        version: of the model.
        samples: images to try it with, and their answers; none for a model that came without.
    """

    model: str
    version: str
    samples: tuple[Sample, ...]

    @classmethod
    def verify(cls, path: Path) -> "Package":
        """Read an archive, and compare every file in it with its checksum.

        Raises:
            ServerError: it is not there, not one of ours, damaged, or incomplete.
        """
        if not path.is_file():
            raise ServerError(f"no archive at {path}; make one with: falconet archive")
        try:
            with zipfile.ZipFile(path) as mar:
                files = {name: mar.read(name) for name in mar.namelist()}
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ServerError(f"{path}: damaged, or not an archive: {error}") from None
        try:
            sums: dict[str, str] = dict(json.loads(files[CHECKSUMS]))
            manifest = json.loads(files[MANIFEST])["model"]
            check_name(path, manifest["modelName"])
            check_version(manifest["modelVersion"])
            for name in (manifest["handler"], manifest["serializedFile"], CONFIG):
                if name not in sums:
                    raise ServerError(f"{path}: not as it was made: there is no checksum of {name}")
            wrong = [
                name
                for name in sorted({*sums, *files} - {CHECKSUMS, MANIFEST})
                if hashlib.sha256(files.get(name, b"")).hexdigest() != sums.get(name)
            ]
            if wrong:
                raise ServerError(f"{path}: not as it was made, or incomplete: {', '.join(wrong)}")
            Spec.from_json(files[SPEC].decode())
            return cls(
                model=str(manifest["modelName"]),
                version=str(manifest["modelVersion"]),
                samples=tuple(samples.from_json(json.loads(files[samples.FILE_NAME]))),
            )
        except KeyError as error:
            raise ServerError(
                f"{path}: lacks {error}; expected an archive that `falconet archive` of this "
                "version made"
            ) from None
        except (ValueError, TypeError) as error:
            raise ServerError(f"{path}: {error}") from None
