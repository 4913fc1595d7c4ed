"""Programs that some tests need, beside what pip installs.

``python3 -m tests.programs`` offers to install those that are missing; with ``--yes`` it does not
ask. On Debian, as root; elsewhere it says what is missing.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

# By the Debian package that has them.
PACKAGES = {
    "nginx-light": ("nginx",),
    "prometheus": ("prometheus", "promtool"),
    "tini": ("tini",),
    "iproute2": ("ip",),
    "openssl": ("openssl",),
    "curl": ("curl",),
    "procps": ("pkill",),
    "util-linux": ("unshare", "nsenter", "setpriv", "taskset"),
    "systemd": ("systemd-analyze",),
    "chromium": ("chromium",),
}
# What they are looked for in; a user's $PATH may lack the last ones.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
WITHOUT = "not installed: "  # how the reason of a skipped test begins
# Debian starts the services of a package that it installs, unless this says no.
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(programs: Iterable[str]) -> list[str]:
    """Those of them that are not installed."""
    return sorted({each for each in programs if shutil.which(each, path=PATH) is None})


def skip_without(*programs: str) -> None:
    """Skip the test that runs if one of them is not installed."""
    lacking = missing(programs)
    if lacking:
        import pytest  # the rest runs before anything is installed

        pytest.skip(f"{WITHOUT}{', '.join(lacking)}")


def packages_of(programs: Iterable[str]) -> list[str]:
    """The Debian packages that have them."""
    wanted = set(programs)
    return [package for package, found in PACKAGES.items() if wanted & set(found)]


def install(packages: list[str]) -> None:
    """With apt-get, and without starting anything."""
    written = not POLICY.exists()
    if written:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        subprocess.run(["apt-get", "-q", "update"], check=True)
        command = ["apt-get", "-qy", "install", "--no-install-recommends", *packages]
        subprocess.run(command, check=True)
    finally:
        if written:
            POLICY.unlink()


def main() -> None:
    """Install what is missing, if that is wanted; more packages may be named."""
    arguments = sys.argv[1:]
    unasked = "--yes" in arguments
    lacking = missing(program for found in PACKAGES.values() for program in found)
    packages = packages_of(lacking) + [each for each in arguments if not each.startswith("-")]
    if not packages:
        return
    can_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if can_install and not unasked and sys.stdin.isatty():
        answer = input(
            f"Some tests need {', '.join(lacking)}. Install {' '.join(packages)}? [y/N] "
        )
        unasked = answer.lower().startswith("y")
    if can_install and unasked:
        install(packages)
    elif unasked:
        sys.exit(f"expected apt-get, and root, to install {' '.join(packages)}")
    elif lacking:
        print(f"Tests that need {', '.join(lacking)} will be skipped; {how_to_install(lacking)}")


def how_to_install(programs: Iterable[str]) -> str:
    """A command, for people."""
    by_hand = set(programs) - {each for found in PACKAGES.values() for each in found}
    ways = {
        "on Debian: apt-get install": packages_of(programs),
        "by hand:": sorted(by_hand),
    }
    return "; ".join(f"{way} {' '.join(names)}" for way, names in ways.items() if names)


if __name__ == "__main__":
    main()
