"""torchvision's transforms in our words."""

from typing import Any


def arguments(transform: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"resize": None, "size": None}
    for each in transform.transforms:
        name = type(each).__name__
        if name == "Resize":
            found["resize"] = each.size if isinstance(each.size, int) else tuple(each.size)
            found["filter"] = each.interpolation.value
        elif name == "CenterCrop":
            found["size"] = tuple(each.size)
        elif name == "Normalize":
            found["mean"], found["std"] = tuple(map(float, each.mean)), tuple(map(float, each.std))
        elif name != "ToTensor":
            raise ValueError(name)
    if found["size"] is None:
        found["size"], found["resize"] = found["resize"], None
    return found
