"""Model cards: the templates beside this file, filled, with the metadata that the Hub reads."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

PIPELINE_TAG = "audio-text-to-text"
LIBRARY_NAME = "transformers"
REPO_PLACEHOLDER = "THIS_FOLDER_OR_REPO"  # until it is pushed
TAGS = ["music", "audio", "music-question-answering", "music-captioning", "mert", "mullama"]

# The shape of the release that the paper describes: LLaMA's width, layers and pieces, adapted layers, MERT's shape.
RELEASED_SHAPE = (4096, 32, 32_000, 20, 1024, 24)
RELEASED_BASES = ("meta-llama/Llama-2-7b-hf", "m-a-p/MERT-v1-330M", "mu-llama/MU-LLaMA")
CONVERTED_LICENSE_NOTE = (
    "The weights combine three works, whose licences hold together: the LLaMA (LLaMA 2: Llama 2 Community License "
    "Agreement, with its acceptable use policy), MERT (MERT-v1: CC-BY-NC-4.0, so not for commercial use) and the "
    "MU-LLaMA checkpoint, trained on MusicQA, which was made from MusicCaps (CC-BY-SA-4.0) and MagnaTagATune "
    "(CC-BY-NC-SA). The code in this repository is Apache-2.0."
)
MERT_LICENSE_NOTE = (
    "The weights keep MERT's licence (m-a-p's releases: CC-BY-NC-4.0, so not for commercial use). The code in this "
    "repository is Apache-2.0."
)


def make_model_card(
    name: str,
    summary: str,
    license: str,
    license_note: str,
    base_models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    results: Sequence[EvalResult] = (),
    sections: str = "",
    repo_id: str = REPO_PLACEHOLDER,
    license_name: str | None = None,
    license_link: str | None = None,
    window_seconds: float = 60.0,
) -> str:
    """
    The card of a MU-LLaMA model.

    Args:
        name: Title of the card, and the model's name beside its results.
        summary: What the model is and is for, a few sentences of Markdown.
        license: The Hub's identifier; "other" needs `license_name` and `license_link`.
        license_note: The licences in words.
        base_models: Hub ids of what it was made from.
        datasets: Hub ids of what it was trained on.
        results: Measured results, in the Hub's form: they are shown on the model's page.
        sections: More Markdown, with its own `##` headings: training, measured results, limits.
        repo_id: How the example names the model.

    Returns the text of README.md.
    """
    data = ModelCardData(
        language="en",
        license=license,
        license_name=license_name,
        license_link=license_link,
        library_name=LIBRARY_NAME,
        pipeline_tag=PIPELINE_TAG,
        tags=TAGS,
        base_model=list(base_models) or None,
        datasets=list(datasets) or None,
        model_name=name,
        eval_results=list(results) or None,
    )
    return _fill(
        "model.md",
        data,
        model_name=name,
        summary=summary,
        sections=sections.strip(),
        license_note=license_note,
        repo_id=repo_id,
        window_seconds=f"{window_seconds:g}",
    )


def make_converted_card(config, dtype: str, bases: Sequence[str] = ()) -> str:
    """
    The card of converted weights.

    Args:
        config: The `MuLlamaConfig` that was read from the files.
        dtype: Name of the type in which the weights are written.
        bases: Hub ids among the files that were converted; for files of the released shape they are known.
    """
    text, audio = config.text_config, config.audio_config
    shape = (text.hidden_size, text.num_hidden_layers, text.vocab_size, text.num_adapter_layers)
    is_released = (*shape, audio.hidden_size, audio.num_hidden_layers) == RELEASED_SHAPE
    summary = (
        f"MU-LLaMA's released weights, converted to transformers: a LLaMA of width {text.hidden_size} whose last "
        f"{text.num_adapter_layers} of {text.num_hidden_layers} layers hear, and a MERT of width {audio.hidden_size} "
        f"with {audio.num_hidden_layers} layers. LoRA is merged; the weights are in {dtype}."
    )
    sections = (
        "## Limits\n\n"
        "The model hears a recording as one average over time: it cannot say when something happens. It answers "
        "fluently whether or not it has heard what it says. By default it samples as the released programs did "
        "(temperature 0.6, top-p 0.8); `do_sample=False` gives the likeliest answer."
    )
    return make_model_card(
        name="MU-LLaMA",
        summary=summary,
        license="other",
        license_name="llama2-and-cc-by-nc-4.0",
        license_link="https://ai.meta.com/llama/license/",
        license_note=CONVERTED_LICENSE_NOTE,
        base_models=RELEASED_BASES if is_released else bases,
        datasets=["mu-llama/MusicQA"] if is_released else (),
        sections=sections,
    )


def make_mert_card(config, base: str | None = None) -> str:
    """The card of a MERT that was exported with this project's code; `base` is its Hub id, if it has one."""
    data = ModelCardData(
        license="cc-by-nc-4.0",
        library_name=LIBRARY_NAME,
        pipeline_tag="feature-extraction",
        tags=["music", "audio", "mert"],
        base_model=base,
    )
    return _fill(
        "mert.md",
        data,
        model_name="MERT for transformers 5",
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        license_note=MERT_LICENSE_NOTE,
        repo_id=REPO_PLACEHOLDER,
    )


def _fill(template: str, data: ModelCardData, **values) -> str:
    path = Path(__file__).with_name(template)
    return str(ModelCard.from_template(data, template_path=str(path), **values)).rstrip() + "\n"
