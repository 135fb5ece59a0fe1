"""A CUDA device that is pretended: tensors say that they lie on it, and are refused beside those of the CPU.

PyTorch's FakeTensorMode has no values, and a detector asks for them: how many boxes are left decides the next shape. So
the numbers are those of CPU tensors that each of these holds. What the real device cannot do raises the error that the
real device raises; gradients need it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda", 0)

_aten = torch.ops.aten
_MOVES = {_aten._to_copy.default, _aten.copy_.default}
_TAKE_INDICES_OF_THE_CPU = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default}


class Pretended(Tensor):
    """A tensor that says it is on the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> Pretended:
        made: Pretended = torch.Tensor._make_wrapper_subclass(
            cls, real.size(), strides=real.stride(), storage_offset=real.storage_offset(), dtype=real.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.held = real
        return made

    def __repr__(self) -> str:
        return f"Pretended({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        to_cpu = torch.device(kwargs["device"]).type == "cpu" if kwargs.get("device") is not None else False
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        if func not in _MOVES:
            _refuse_mixed(func, args, kwargs)
        out = func(*tree_map(_real, args), **tree_map(_real, kwargs))
        if func is _aten.copy_.default or (func._schema.is_mutable and isinstance(out, Tensor)):
            return args[0]  # of the operators in place that are called here, the first argument is what changes
        return out if to_cpu else tree_map(_pretend, out)


class _Factories(TorchFunctionMode):
    """What is made on the device or brought there from Python."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func is F.batch_norm:  # whose choice between kernels asks the driver
            return _batch_norm(*args, **kwargs)
        if name == "new_tensor" and isinstance(args[0], Pretended):
            return _pretend(torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)))
        if name == "as_tensor" and isinstance(args[0], Pretended):
            return args[0]
        if name == "where" and any(isinstance(value, int | float) for value in args):  # it makes a tensor on the device
            args = tuple(torch.tensor(value) if isinstance(value, int | float) else value for value in args)
        if name == "to" and _to_the_device(args[1:], kwargs):
            rest = [a.dtype if isinstance(a, Pretended) else a for a in args[1:]]
            rest = [a for a in rest if isinstance(a, torch.dtype)]
            other = {k: v for k, v in kwargs.items() if k in ("dtype", "memory_format")}
            converted = args[0].to(*rest, **other) if rest or other else args[0]
            return converted if isinstance(converted, Pretended) else _pretend(converted.detach().clone())
        if _is_device(kwargs.get("device")):
            del kwargs["device"]
            beside = any(isinstance(value, Pretended) for value in tree_flatten(args)[0])
            return func(*args, **kwargs) if beside else _pretend(func(*args, **kwargs))
        return func(*args, **kwargs)


def _real(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _batch_norm(
    features: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    return torch.native_batch_norm(features, weight, bias, running_mean, running_var, training, momentum, eps)[0]


def _pretend(value: Any) -> Any:
    return Pretended(value) if isinstance(value, Tensor) and not isinstance(value, Pretended) else value


def _is_device(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.startswith("cuda")


def _to_the_device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(_is_device(a) or isinstance(a, Pretended) for a in (*args, *kwargs.values()))


def _refuse_mixed(func: Any, args: Any, kwargs: Any) -> None:
    """As CUDA does: beside its tensors none of the CPU but single numbers, and indices."""
    found = tree_flatten((args[0], args[2:], kwargs) if func in _TAKE_INDICES_OF_THE_CPU else (args, kwargs))[0]
    wrong = [v for v in found if isinstance(v, Tensor) and not isinstance(v, Pretended) and v.dim() > 0]
    if wrong:
        raise RuntimeError(
            f"{func}: expected all tensors on one device, and found one of shape {tuple(wrong[0].shape)} on the CPU"
        )


@contextlib.contextmanager
def pretended_cuda() -> Iterator[torch.device]:
    """While this is open, the device can be asked for."""
    torch._C._ensureCUDADeviceGuardSet()  # as FakeTensorMode does: nobody asks the driver which device is current
    future = torch.__future__
    before = future.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for name in ("is_available", "is_bf16_supported"):
            stack.enter_context(mock.patch(f"torch.cuda.{name}", return_value=True))
        free = torch.iinfo(torch.int64).max
        stack.enter_context(mock.patch("torch.cuda.mem_get_info", return_value=(free, free)))
        stack.enter_context(mock.patch("torch.cuda.device_count", return_value=1))
        stack.enter_context(mock.patch("torch.Tensor.pin_memory", lambda tensor: tensor))
        stack.callback(future.set_overwrite_module_params_on_conversion, before)
        future.set_overwrite_module_params_on_conversion(True)  # Module.to makes parameters anew
        stack.enter_context(_Factories())
        yield DEVICE
