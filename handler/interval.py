"""How often workers report what they have counted."""

import os

# Of the environment of a server, and of the commands that watch it.
REPORT_SECONDS = "FALCONET_REPORT_SECONDS"
LONGEST = 1.0


def report_seconds() -> float:
    """Seconds between two reports: 1, or less where the environment says so.

    No more than that, so that a command which knows nothing of a server's environment waits long
    enough for its workers. It is set for a server alone, or for it and for those commands; set for
    these alone, they would not wait long enough.

    Raises:
        ValueError: the environment's is no number above 0 and up to 1.
    """
    text = os.environ.get(REPORT_SECONDS) or str(LONGEST)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"{REPORT_SECONDS}: expected seconds above 0 and up to 1, got {text!r}")
    return seconds
