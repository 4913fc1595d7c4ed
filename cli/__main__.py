"""The console script ``falconet``, which says what a smaller installation lacks."""

import re
import sys
from collections.abc import Sequence
from importlib import metadata

# Commands that want the extra train, whatever they lack first.
TRAINING = {"explore", "recipes", "report", "reproduce", "show", "train", "tune"}
# Packages by their modules, where those are called otherwise.
PACKAGES = {
    "PIL": "pillow",
    "model_archiver": "torch-model-archiver",
    "ts": "torchserve",
    "yaml": "pyyaml",
}


def lacking(module: str, command: Sequence[str]) -> str | None:
    """Which extra a command needs, in a sentence.

    Args:
        module: that could not be imported.
        command: its name, if one is given.

    Returns:
        ``None`` where no extra has the module.
    """
    top = module.partition(".")[0]
    package = PACKAGES.get(top, top)
    for line in metadata.requires("falconet") or ():
        found = re.match(r"([\w.-]+).*extra == .(serve|train|score|cluster)\b", line)
        if found and found[1] == package:
            extra = "train" if TRAINING.intersection(command) else found[2]
            name = " ".join(["falconet", *command])
            return f"{name}: needs {package}; pip install 'falconet[{extra}]'"
    return None


def main() -> None:
    """Run the command; ends with status 1 if something is not installed."""
    try:
        from .main import main as run  # click may be missing, too

        run()
    except ModuleNotFoundError as error:
        sys.exit(lacking(error.name or "", sys.argv[1:2]) or f"Error: {error}")


if __name__ == "__main__":
    main()
