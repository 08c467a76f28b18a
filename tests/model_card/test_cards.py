"""Cards: what the Hub reads in their metadata."""

import pytest
from huggingface_hub import EvalResult, ModelCard
from mullama.model_card.cards import RELEASED_BASES, make_converted_card, make_mert_card, make_model_card
from mullama.modeling_mullama import MertConfig, MuLlamaConfig


def test_measured_results_are_the_hubs_evaluation_results():
    result = EvalResult(
        task_type="audio-text-to-text",
        dataset_type="mu-llama/MusicQA",
        dataset_name="MusicQA",
        dataset_split="test",
        metric_type="rouge",
        metric_name="ROUGE-L F1",
        metric_value=0.25,
    )
    card = ModelCard(
        make_model_card(
            name="a model",
            summary="It hears.",
            license="apache-2.0",
            license_note="Apache-2.0.",
            base_models=["m-a-p/MERT-v1-95M", "HuggingFaceTB/SmolLM2-360M"],
            datasets=["mu-llama/MusicQA"],
            results=[result],
            sections="## Training\n\nFive minutes.",
        )
    )
    data = card.data.to_dict()
    assert data["base_model"] == ["m-a-p/MERT-v1-95M", "HuggingFaceTB/SmolLM2-360M"]
    assert data["datasets"] == ["mu-llama/MusicQA"] and data["license"] == "apache-2.0"
    assert card.data.eval_results[0].metric_value == 0.25 and card.data.model_name == "a model"
    assert "## Training\n\nFive minutes." in card.text


@pytest.mark.parametrize(("width", "bases"), [(4096, list(RELEASED_BASES)), (2048, ["a/llama"])])
def test_converted_weights_name_what_they_were_made_from(width, bases):
    config = MuLlamaConfig(
        audio_config={"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
        text_config={"hidden_size": width, "num_hidden_layers": 32, "vocab_size": 32_000, "num_adapter_layers": 20},
    )
    card = ModelCard(make_converted_card(config, "bfloat16", ["a/llama"]))
    data = card.data.to_dict()
    assert data["base_model"] == bases and (data["library_name"], data["license"]) == ("transformers", "other")
    assert data["license_name"] and data["license_link"] and data["pipeline_tag"] == "audio-text-to-text"
    assert f"width {width} whose last 20 of 32 layers hear" in card.text and "in bfloat16" in card.text


def test_a_mert_tells_its_shape_and_licence():
    card = ModelCard(make_mert_card(MertConfig(), "m-a-p/MERT-v1-95M"))
    assert card.data.to_dict()["base_model"] == "m-a-p/MERT-v1-95M" and card.data.license == "cc-by-nc-4.0"
    assert "12 layers of width 768" in card.text and "(batch, 13, 768)" in card.text
