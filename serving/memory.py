"""Whether what is to be started fits into memory."""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from falconet.model.archive import MODEL, archive_workers, has_explanations
from falconet.native.cores import own_groups

from .errors import ServerError

# Measured, as docs/serving.md has it: a worker of the shipped model, whose file has 13 MB, holds
# 342 MB; one of ResNet-18, whose file has 47 MB, 410 MB.
WORKER = 320_000_000  # bytes, without a model
TIMES = 2  # the model's file: as it is, and packed for the CPU

MB = 1_000_000


class Need(NamedTuple):
    """Workers of one model that are to be started from an archive."""

    model: str
    workers: int
    archive: Path

    @property
    def worker(self) -> int:
        """Bytes of each, about."""
        with zipfile.ZipFile(self.archive) as mar:
            sizes = [info.file_size for info in mar.infolist() if info.filename == MODEL]
        # The first explanation loads the model once more.
        return WORKER + (TIMES + has_explanations(self.archive)) * sum(sizes)


def check_fits(needs: Iterable[Need], java: int = 0) -> None:
    """Make sure that there is memory for workers, before any of them is started.

    Args:
        needs: all that are to be started.
        java: bytes of a heap that is to be filled too.

    Raises:
        ServerError: there is less; says how much each model takes, and how much there is.
    """
    each = [(need, need.workers * need.worker) for need in needs]
    total, free = java + sum(size for _, size in each), available_memory()
    if total > free:
        parts = [
            f"{need.model} {need.workers} x {need.worker / MB:.0f} MB for its workers"
            for need, _ in each
        ]
        parts += [f"Java {java / MB:.0f} MB"] if java else []
        raise ServerError(
            f"expected {total / MB:.0f} MB of free memory, found {free / MB:.0f} MB: "
            f"{', '.join(parts)}; use fewer workers (falconet archive --workers), fewer models, "
            "or more memory"
        )


def most_workers(archives: Mapping[str, Path], java: int) -> int:
    """How many workers each model may have for all to fit into memory; at least one.

    Args:
        archives: of the models, by their names; those that state their workers have as many.
        java: bytes of a heap that is to be filled too.
    """
    stated = {model: archive_workers(archive) for model, archive in archives.items()}
    needs = [Need(model, stated[model] or 1, archive) for model, archive in archives.items()]
    fixed = java + sum(each.workers * each.worker for each in needs if stated[each.model])
    for_each = sum(each.worker for each in needs if not stated[each.model])
    return max(1, (available_memory() - fixed) // for_each) if for_each else 1


def available_memory() -> int:
    """Bytes that may still be taken: of the machine, and of each of this process's groups."""
    machine = int(psutil.virtual_memory().available)
    return max(0, min([machine, *(_left_unified() or _left_legacy())]))


def _left_unified() -> list[int]:
    """Bytes left in each group of version 2 that has a limit."""
    return _left(
        own_groups(),
        limit="memory.max",
        used="memory.current",
        reclaimable=("inactive_file", "active_file", "slab_reclaimable"),
    )


def _left_legacy() -> list[int]:
    """Bytes left in each group of version 1; one without a limit reports a very large number."""
    return _left(
        own_groups("memory"),
        limit="memory.limit_in_bytes",
        used="memory.usage_in_bytes",
        reclaimable=("total_inactive_file", "total_active_file"),
    )


def _left(groups: Iterable[Path], limit: str, used: str, reclaimable: Iterable[str]) -> list[int]:
    """Bytes left in each group that has a limit.

    Args:
        groups: folders.
        limit: the file with the limit.
        used: the file with what counts against it.
        reclaimable: lines of ``memory.stat`` with what the kernel takes back when it is needed:
            contents of files, and its own caches.
    """
    found = []
    for group in groups:
        try:
            most = (group / limit).read_text().strip()
            now = int((group / used).read_text())
            lines = (group / "memory.stat").read_text().splitlines()
        except OSError:  # the top has none, and others may be out of sight
            continue
        if most != "max":
            stat = dict(line.split() for line in lines)
            found.append(int(most) - now + sum(int(stat.get(name, 0)) for name in reclaimable))
    return found
