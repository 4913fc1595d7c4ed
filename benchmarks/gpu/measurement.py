"""One check, or one comparison of servers, in a process of its own.

    python -m benchmarks.gpu.measurement NAME DEVICE FOLDER RESULT

Writes its result, or why it failed or was skipped, into the file RESULT as JSON.
"""

import json
import sys
from pathlib import Path

from . import child
from .checks import Checks
from .serving import TASKS, compare_servers
from .steps import CheckError, Figures, SkippedError


def main() -> None:
    child.begin()
    name, device, folder, result = sys.argv[1:]
    figures: Figures = {}
    try:
        if name in TASKS:
            state, (message, figures) = "passed", compare_servers(name, device)
        else:
            state, (message, figures) = "passed", getattr(Checks(device, Path(folder)), name)()
    except CheckError as error:
        state, message, figures = "failed", str(error), error.figures
    except SkippedError as error:
        state, message = "skipped", str(error)
    content = {"state": state, "message": message, "figures": figures}
    Path(result).write_text(json.dumps(content))


if __name__ == "__main__":
    main()
