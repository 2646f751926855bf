"""A model whose weights are shared out among the processes of a run (torch's FSDP2).

Each process keeps its share of every weight, gradient and optimiser sum. What is outside of the
layers (embedding, last norm, head) is gathered for the length of a call, each layer while it runs,
and again in its backward. Gathering is done by all processes at once, so all must make the same
calls. With a gradient the module that trains sees to that. Without one, a process says before each
call and each pass over the layers that it comes, and one that has nothing left to do gathers with
the others until nobody does: rollouts end at different tokens, and prompts need different numbers
of micro-batches.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp, all_reduce
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from rl4bio.engine.known_tokens import inner_model
from rl4bio.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")

NAME = "rl4bio_shards"
"""Attribute of the inner model."""
CALL = "rl4bio_call"
"""Method of the outer model whose inside counts as its forward pass."""


class Shards:
    """How a model is shared out, and what its processes tell each other.

    Args:
        root: the outer model, adapters included.
        layers: in the order of a forward pass.
        mesh: of all processes, one-dimensional.
    """

    def __init__(self, root: FSDPModule, layers: list[FSDPModule], mesh: DeviceMesh) -> None:
        self.root, self.layers, self.mesh = root, layers, mesh
        self.gathers_once = False
        """Whether `kept_whole` keeps layers whole."""
        self._whole = False

    def call(self, run: Callable[[], T]) -> T:
        """What `run` returns, its tensors no views, as one call of the model."""
        if torch.is_grad_enabled():
            return getattr(self.root, CALL)(lambda: tree_map(_no_view, run()))  # type: ignore[no-any-return]
        self._anyone(True)

        def in_company() -> T:
            found = run()
            self._gather_layers_with_others()
            return found

        return getattr(self.root, CALL)(in_company)  # type: ignore[no-any-return]

    def begin_pass(self) -> None:
        """Say that the layers run now, where others may have nothing left to run."""
        if not torch.is_grad_enabled() and not self._whole:
            self._anyone(True)

    @contextlib.contextmanager
    def kept_whole(self) -> Iterator[None]:
        """In a call without a gradient: gather the layers once for all passes inside, where
        `gathers_once` says so. To the others it is one pass."""
        if not self.gathers_once:
            yield
            return
        self.begin_pass()
        for layer in self.layers:
            layer.set_reshard_after_forward(False)
            layer.unshard()
        self._whole = True
        try:
            yield
        finally:
            self._whole = False
            for layer in self.layers:
                layer.reshard()
                layer.set_reshard_after_forward(True)

    def meet(self) -> None:
        """Gather what other processes still need, until all have come here.

        Every process must call it wherever they may have made different numbers of calls without a
        gradient, before whatever else they do together.
        """
        with torch.no_grad():
            while self._anyone(False):
                getattr(self.root, CALL)(self._gather_layers_with_others)

    def _gather_layers_with_others(self) -> None:
        while self._anyone(False):
            for layer in self.layers:
                layer.unshard()
                layer.reshard()

    def _anyone(self, own: bool) -> bool:
        flag = torch.tensor(int(own), dtype=torch.int32, device=self.mesh.device_type)
        all_reduce(flag, op=ReduceOp.MAX, group=self.mesh.get_group())
        return bool(flag)


def _no_view(value: Any) -> Any:
    """A view would lose, with a change in place, what gathers the weights in its backward."""
    return value.clone() if isinstance(value, Tensor) else value


def shards_of(model: Any) -> Shards | None:
    """How a model is shared out; None where this process has all of it."""
    found: Shards | None = getattr(inner_model(model), NAME, None)
    return found


def shard(model: Any, mesh: DeviceMesh, *, half: bool = False) -> None:
    """Share a model's weights out among the processes of a mesh; they become DTensors.

    Args:
        model: the same in all processes, on any device.
        mesh: of all processes, one-dimensional.
        half: gather layers in bfloat16, as autocast would cast them; shares, gradients that are
            summed and what is outside of the layers keep their type.

    Raises:
        ConfigError: the model does not say what its layers are.
    """
    inner = inner_model(model)
    names = set(getattr(inner, "_no_split_modules", None) or ())
    parts = [module for module in inner.modules() if type(module).__name__ in names]
    body = getattr(inner, "layers_only", None) or inner.base_model
    run = {id(module) for module in getattr(body, "language_model", body).modules()}
    layers = [part for part in parts if id(part) in run]
    if not layers:
        raise ConfigError(
            f"trainer.strategy: fsdp gathers layers, and {type(inner).__name__} does not say what "
            "its layers are; use ddp"
        )
    policy = MixedPrecisionPolicy()
    if half:
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    for part in parts:
        fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
    setattr(model, CALL, lambda run: run())
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(model, CALL)
    setattr(inner, NAME, Shards(model, layers, mesh))


def as_one_call(
    function: Callable[Concatenate[nn.Module, P], T],
) -> Callable[Concatenate[nn.Module, P], T]:
    """Let a function of a model be one call of it: what it reads of the model is then whole."""

    @functools.wraps(function)
    def call(model: nn.Module, /, *args: P.args, **options: P.kwargs) -> T:
        shards = shards_of(model)
        if shards is None:
            return function(model, *args, **options)
        return shards.call(functools.partial(function, model, *args, **options))

    return call


def own_share(tensor: Tensor) -> Tensor:
    """What this process has of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def as_shared(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor shared out as another is, of its type and on its device; each process takes
    its part of what it was given."""
    tensor = tensor.to(like.device, like.dtype)
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def gathered(tree: T, *, keep: bool = True) -> T:
    """Nested containers with whole tensors, on the CPU, in the place of shared ones.

    Every process must call it where there are some.

    Args:
        tree: dicts, lists and tuples.
        keep: whether this process wants them; else nothing is left in their place.
    """

    def whole(value: Any) -> Any:
        if not isinstance(value, DTensor):
            return value
        found = value.full_tensor().detach()
        return found.cpu() if keep else found.new_empty(0, device="cpu")

    found: T = tree_map(whole, tree)
    return found


def make_whole(model: Any, *, keep: bool) -> None:
    """Undo `shard`: whole weights, on the CPU, in a model of its own class.

    Every process must call it.

    Args:
        model: that is shared out.
        keep: whether this process wants it; else it stays with its shares.
    """
    shared = [weight for _, weight in model.named_parameters() if isinstance(weight, DTensor)]
    made: dict[int, nn.Parameter] = {}
    for weight in shared:
        whole = gathered(weight, keep=keep)
        made[id(weight)] = nn.Parameter(whole, requires_grad=weight.requires_grad)
    if not keep:
        return
    for module in model.modules():
        for name, weight in module._parameters.items():
            if id(weight) in made:
                module._parameters[name] = made[id(weight)]
        if isinstance(module, FSDPModule):
            state = module._get_fsdp_state()
            state._pre_forward_hook_handle.remove()
            state._post_forward_hook_handle.remove()
            module.__class__ = type(module).__mro__[FSDPModule._orig_cls_mro_index]
    delattr(model, CALL)
    delattr(inner_model(model), NAME)
