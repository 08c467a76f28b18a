"""
Audio files and prompts made ready for the model.

Importing this package, or reading audio with it, is instant; the processor, which needs transformers, is imported when
it is first used, and is then known to transformers' Auto classes.
"""

import importlib

from .audio_io import AudioError, audio_duration, read_audio, stream_windows

_PROCESSOR_EXPORTS = ("MuLlamaFeatureExtractor", "MuLlamaProcessor")


def __getattr__(name: str):
    if name not in _PROCESSOR_EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(".processing_mullama", __name__), name)
    globals()[name] = value
    return value


__all__ = [*_PROCESSOR_EXPORTS, "AudioError", "audio_duration", "read_audio", "stream_windows"]
