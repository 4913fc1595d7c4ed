"""What pyproject.toml cannot say: the extension, gRPC's stubs, and where the rooms lie.

The top-level folders are installed as the namespace package ``falconet``. SANITIZE=1 builds the
extension for AddressSanitizer and UndefinedBehaviorSanitizer, DEBUG=1 for a debugger.
"""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from grpc_tools import protoc
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup
from setuptools.command.build_py import build_py

ROOMS = {
    "falconet.native": "csrc",
    "falconet.client": "client",
    "falconet.model": "model",
    "falconet.model.importers": "model/importers",
    "falconet.training": "training",
    "falconet.training.recipes": "training/recipes",
    "falconet.handler": "handler",
    "falconet.serving": "serving",
    "falconet.scoring": "scoring",
    "falconet.cli": "cli",
}

# The weights of the filters have to be computed as Pillow's are: no fused multiply-add.
compile_args = ["-O3", "-Wall", "-Wextra", "-ffp-contract=off"]
link_args = []
if os.environ.get("DEBUG") == "1" or os.environ.get("SANITIZE") == "1":
    compile_args += ["-O1", "-g", "-fno-omit-frame-pointer"]
if os.environ.get("SANITIZE") == "1":
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    compile_args += sanitizers
    link_args += sanitizers


class BuildExt(build_ext):
    """Keeps object files, by Python and platform: only what has changed is compiled again."""

    def finalize_options(self) -> None:
        super().finalize_options()
        kind = "".join(f"-{each}" for each in ("SANITIZE", "DEBUG") if os.environ.get(each) == "1")
        place = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}{kind.lower()}"
        self.build_temp = f"build/objects/{place}"


def outdated(object_file: str, source: str) -> bool:
    """Whether it was compiled before its source, any header or this file was changed."""
    inputs = [Path(source), Path("setup.py"), *Path("csrc").glob("*.h")]
    made = Path(object_file)
    return not made.exists() or made.stat().st_mtime < max(each.stat().st_mtime for each in inputs)


ParallelCompile(default=0, needs_recompile=outdated).install()


class BuildPy(build_py):
    """Also makes what is not written: gRPC's stubs, and a copy of config.properties.

    That file lies at the top for TorchServe, and is installed beside what reads it.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            generate_stubs(Path("serving"))
        else:
            serving = Path(self.build_lib, "falconet", "serving")
            self.copy_file("config.properties", str(serving / "config.properties"))
            generate_stubs(serving)


def generate_stubs(folder: Path) -> None:
    """Python for serving/inference.proto. Its imports follow from where the file seems to lie."""
    with tempfile.TemporaryDirectory() as root:
        package = Path(root, "falconet", "serving")
        package.mkdir(parents=True)
        source = shutil.copy("serving/inference.proto", package)
        outputs = [f"--{kind}_out={root}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"-I{root}", *outputs, str(source)]) != 0:
            raise RuntimeError("protoc failed on serving/inference.proto")
        for file in package.glob("inference_pb2*"):
            # Within a room imports are relative.
            text = file.read_text().replace("from falconet.serving import", "from . import")
            (folder / file.name).write_text(text)


setup(
    packages=list(ROOMS),
    package_dir=ROOMS,
    include_package_data=False,  # MANIFEST.in is for the sdist: no C++ in the wheel
    package_data={
        "": ["py.typed"],
        "falconet.native": ["_core.pyi"],
        "falconet.model": ["pretrained/*"],
        "falconet.training": ["measured/*.json"],
        "falconet.serving": ["inference.proto", "conf/*", "page/*"],
    },
    ext_modules=[
        Pybind11Extension(
            "falconet.native._core",
            sorted(str(path) for path in Path("csrc").glob("*.cpp")),
            depends=sorted(str(path) for path in Path("csrc").glob("*.h")),
            cxx_std=17,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
    ],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
)
