"""MusicQA: sources, question-answer generation with an LLM, Parquet, loading; and the synthesised set."""

import importlib

_EXPORTS = {
    "build_dataset": "build",
    "dataset_stats": "stats",
    "from_lp_musiccaps": "adapters",
    "from_music_instruct": "adapters",
    "from_musicbench": "adapters",
    "from_song_describer": "adapters",
    "generate_qa": "generate",
    "load_musicqa": "load",
    "one_row_per_question": "load",
    "read_clips": "sources",
    "read_qa": "rows",
    "read_release": "rows",
}


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


__all__ = [*_EXPORTS]
