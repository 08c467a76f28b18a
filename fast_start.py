"""
Start a short-lived process in half the time: transformers' models without torch's compiler and distribution.

Importing one model class of transformers imports TorchDynamo, Inductor and DTensor as well, which takes longer than
`import torch, transformers`, though answering a question neither compiles nor distributes anything. Here the compiler
is imported when something first uses it, and torch says of itself that it has no distribution, as some builds of it
do. Only the shell's commands use this: without it everything works as well, and starts later.
"""

import gc
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any


class _ImportedOnUse(ModuleType):
    """A module whose code runs when a name is first looked up that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.__class__ = ModuleType
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _import_on_use(name: str, **stand_ins: Any) -> ModuleType:
    """Put a module in place without running its code, with `stand_ins` for names that are wanted before that."""
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _ImportedOnUse
    module.__dict__.update(stand_ins)
    sys.modules[name] = module
    return module


def _leave_as_it_is(function=None, *args, **kwargs):
    """A decorator that tells the compiler something about a function: as long as it is not imported, nothing."""
    return (lambda decorated: decorated) if function is None else function


def skip_compiler_and_distribution() -> None:
    """
    Import torch for a process that only runs models. To be called before anything imports transformers.

    Does nothing where torch's compiler is imported already, as it then costs nothing more.
    """
    # OpenMP's threads spin while they wait: on a machine that does other things too, that is twice all the rest.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.disable()  # what an import makes stays: looking for garbage in it takes an eighth of the time
    import torch

    if "torch._dynamo" in sys.modules:
        return
    torch.distributed.is_available = lambda: False
    torch._dynamo = _import_on_use(
        "torch._dynamo",
        allow_in_graph=_leave_as_it_is,
        assume_constant_result=_leave_as_it_is,
        disable=_leave_as_it_is,
    )


def collect_garbage_again() -> None:
    """To be called once everything is imported."""
    gc.freeze()
    gc.enable()
