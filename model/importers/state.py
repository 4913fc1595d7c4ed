"""Weights as others save them."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

# What trainers put the state under, and before its names.
_UNDER = ("state_dict", "model_state_dict", "model")
_BEFORE = ("module.", "_orig_mod.", "model.")


def read_state(path: Path) -> dict[str, Tensor]:
    """A network's state, by name, from a file of ``torch.save`` or safetensors.

    Nothing in it is executed.

    Raises:
        ValueError: it holds something else.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path}: expected a state dict, got a file that holds something else, or more; save "
            "model.state_dict() by itself with torch.save"
        ) from error
    for name in _UNDER:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
            break
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise ValueError(f"{path}: expected tensors by name, got a {type(state).__name__}")
    for before in _BEFORE:
        if state and all(name.startswith(before) for name in state):
            state = {name.removeprefix(before): tensor for name, tensor in state.items()}
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ModuleNotFoundError(f"{path}: needs pip install safetensors") from error
    try:
        state: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected safetensors, got something else: {error}") from error
    return state
