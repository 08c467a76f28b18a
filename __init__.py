"""
MU-LLaMA, native to the Hugging Face ecosystem: ask a piece of music.

Importing this package is instant. The names below are imported when they are first used; transformers' Auto classes
know them once both this package and transformers are imported, in either order.
"""

import importlib
import sys

_EXPORTS = {
    "MertConfig": "modeling_mullama",
    "MertModel": "modeling_mullama",
    "MuLlamaConfig": "modeling_mullama",
    "MuLlamaForConditionalGeneration": "modeling_mullama",
    "MuLlamaModel": "modeling_mullama",
    "MuLlamaProcessor": "processing",
    "MuLlamaTextConfig": "modeling_mullama",
    "read_audio": "processing.audio_io",
}


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


def _register() -> None:
    """Make the model and the processor known to transformers' Auto classes, as importing their folders does."""
    importlib.import_module(".modeling_mullama", __name__)
    importlib.import_module(".processing.processing_mullama", __name__)


class _RegisterAfterTransformers:
    """
    Registers as soon as `import transformers` has run, so that `import mullama` alone does not wait for torch.

    transformers offers no entry point for outside models; registering at once would cost every `mullama --help` the
    import of torch and transformers.
    """

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "transformers":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_register(module) -> None:
            run(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _register()

        spec.loader.exec_module = run_and_register
        return spec


# pytest imports this file a second time, as the package of the tests that bears the folder's name: that is no model's.
if __name__ == "mullama":
    if "transformers" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _RegisterAfterTransformers())

__all__ = [*_EXPORTS]
