"""The libraries that may be missing, and the versions of all."""

import importlib
import os
import platform
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ..document import processor

# A distribution: what it is imported as.
OPTIONAL = {
    "opencv-python-headless": "cv2",
    "pyvips": "pyvips",
    "kornia-rs": "kornia_rs",
    "imagecodecs": "imagecodecs",
    "torchcodec": "torchcodec.decoders",
}
ALWAYS = ("falconet", "torch", "torchvision", "pillow", "numpy", "simplejpeg")

# The flags that decide which code of ours, and of the peers, runs.
FLAGS = {"avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512vbmi", "neon", "asimd"}

missing: list[str] = []


def module(distribution: str) -> ModuleType | None:
    try:
        return importlib.import_module(OPTIONAL[distribution])
    except (ImportError, OSError, RuntimeError):  # what they raise where a library is not found
        missing.append(distribution)
        return None


cv2 = module("opencv-python-headless")
pyvips = module("pyvips")
kornia = module("kornia-rs")
imagecodecs = module("imagecodecs")
torchcodec = module("torchcodec")

# Each image is for one thread; more threads share the images.
if cv2:
    cv2.setNumThreads(1)
torch.set_num_threads(1)
if pyvips:  # it would remember results, and give them again without any work
    pyvips.cache_set_max(0)


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    cache = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "flags": sorted(FLAGS & set(flags)),
        "last_level_cache": cache.read_text().strip() if cache.exists() else "unknown",
        "system": f"{platform.system()} {platform.machine()}"
        + (", virtual" if "hypervisor" in flags else ""),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in (*ALWAYS, *OPTIONAL):
        if name not in missing:
            found[name] = metadata.version(name)
    if pyvips:
        found["libvips"] = ".".join(str(pyvips.version(i)) for i in range(3))
    return found
