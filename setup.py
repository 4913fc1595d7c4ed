"""What pyproject.toml cannot say: the extension, and where the rooms lie.

The top-level folders are installed as the namespace package ``falconet``. SANITIZE=1 builds the
extension for AddressSanitizer and UndefinedBehaviorSanitizer, DEBUG=1 for a debugger.
"""

import os
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import setup
from setuptools.command.build_py import build_py

ROOMS = {
    "falconet.native": "csrc",
    "falconet.model": "model",
    "falconet.training": "training",
    "falconet.training.recipes": "training/recipes",
    "falconet.handler": "handler",
    "falconet.serving": "serving",
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


class BuildPy(build_py):
    """Also puts config.properties, which lies at the top for TorchServe, beside what reads it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "falconet", "serving", "config.properties")
            self.copy_file("config.properties", str(target))


setup(
    packages=list(ROOMS),
    package_dir=ROOMS,
    package_data={
        "": ["py.typed"],
        "falconet.native": ["_core.pyi"],
        "falconet.model": ["pretrained/*"],
        "falconet.training": ["measured/*.json"],
        "falconet.serving": ["log4j2.xml"],
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
    cmdclass={"build_ext": build_ext, "build_py": BuildPy},
)
