"""Generation: the music is heard once, and every way of decoding gives what full forwards give."""

import pytest
import torch
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.modeling_mullama.modeling_mullama import CACHE
from transformers import LlamaForCausalLM, StaticCache

from .conftest import small_model

GREEDY = dict(max_new_tokens=12, do_sample=False)


def greedy_by_full_forwards(model: MuLlamaForConditionalGeneration, ids: torch.Tensor, **audio) -> torch.Tensor:
    with torch.no_grad():
        for _ in range(GREEDY["max_new_tokens"]):
            next_ids = model(ids, use_cache=False, **audio).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, next_ids], dim=1)
    return ids


def left_padded(ids: torch.Tensor, lengths: list[int]) -> dict[str, torch.Tensor]:
    mask = (torch.arange(ids.shape[1]) >= ids.shape[1] - torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def test_greedy_equals_full_forwards_and_depends_on_the_music(model, ids, audio):
    expected = greedy_by_full_forwards(model, ids, input_values=audio)
    assert torch.equal(model.generate(ids, input_values=audio, **GREEDY), expected)
    assert not torch.equal(model.generate(ids, **GREEDY), expected)
    assert not torch.equal(model.generate(ids, input_values=audio.roll(1, 0), **GREEDY), expected)


def test_the_encoder_and_each_adapted_value_run_once(model, ids, audio):
    runs = {"encoder": 0, "projector": 0, "prefix": 0}

    def count(name: str):
        def hook(*_):
            runs[name] += 1

        return hook

    model.model.audio_tower.register_forward_hook(count("encoder"))
    model.model.multi_modal_projector.register_forward_hook(count("projector"))
    for layer in model.model.language_model.layers[2:]:
        layer.self_attn.audio_prefix.register_forward_hook(count("prefix"))
    model.generate(ids, input_values=audio, num_beams=3, **GREEDY)
    assert runs == {"encoder": 1, "projector": 1, "prefix": 3}

    kept = model.get_audio_features(audio).pooler_output
    assert runs["encoder"] == 2
    for _ in range(2):
        model.generate(ids, audio_embeds=kept, **GREEDY)
    assert runs["encoder"] == 2


def test_every_door(model, ids, audio):
    heard = model.get_audio_features(audio)
    expected = model.generate(ids, input_values=audio, **GREEDY)
    windows = audio[:, None]
    assert torch.equal(model.generate(ids, input_values=windows, **GREEDY), expected)
    mask = torch.ones_like(windows, dtype=torch.long)
    assert torch.equal(model.generate(ids, input_values=windows, input_values_mask=mask, **GREEDY), expected)
    assert torch.equal(model.generate(ids, audio_features=heard.layer_means, **GREEDY), expected)
    assert torch.equal(model.generate(ids, audio_embeds=heard.pooler_output, **GREEDY), expected)
    assert torch.equal(model.generate(input_ids=ids, audio_embeds=heard.pooler_output, **GREEDY), expected)


@pytest.mark.parametrize("search", [{}, {"num_beams": 4, "num_return_sequences": 2}])
def test_a_left_padded_batch_equals_its_members(model, ids, audio, search):
    lengths = [9, 6, 4]
    batch = model.generate(**left_padded(ids, lengths), input_values=audio, **GREEDY, **search)
    returns = search.get("num_return_sequences", 1)
    for row, length in enumerate(lengths):
        single = model.generate(ids[row : row + 1, -length:], input_values=audio[row : row + 1], **GREEDY, **search)
        assert torch.equal(batch[row * returns : (row + 1) * returns, 9:], single[:, length:])


@pytest.mark.parametrize("search", [{}, {"num_beams": 2}])
def test_one_audio_for_many_questions(model, ids, audio, search):
    expected = model.generate(ids, input_values=audio[:1].expand(3, -1), **GREEDY, **search)
    assert torch.equal(model.generate(ids, input_values=audio[:1], **GREEDY, **search), expected)
    with pytest.raises(ValueError, match="2 audios do not go with 3 texts"):
        model.generate(ids, input_values=audio[:2], **GREEDY)


def test_prompt_lookup_and_chunked_prefill(model, ids, audio):
    expected = model.generate(ids[:1], input_values=audio[:1], **GREEDY)
    # Older versions look for the end of the text among the candidates even where there is none, and may overshoot.
    lookup = dict(prompt_lookup_num_tokens=3, eos_token_id=64)
    answer = model.generate(ids[:1], input_values=audio[:1], **lookup, **GREEDY)
    assert torch.equal(answer[:, : expected.shape[1]], expected)
    assert torch.equal(model.generate(ids[:1], input_values=audio[:1], prefill_chunk_size=4, **GREEDY), expected)


def test_an_assistant_hears_with_its_own_weights(model, ids, audio):
    expected = model.generate(ids[:1], input_values=audio[:1], **GREEDY)
    for door in ({"input_values": audio[:1]}, {"audio_features": model.get_audio_features(audio[:1]).layer_means}):
        assistant = small_model(seed=5, hidden_size=16, num_hidden_layers=2, num_adapter_layers=1)
        heard = []
        layer = assistant.model.language_model.layers[-1].self_attn
        layer.register_forward_pre_hook(
            lambda module, args, kwargs, heard=heard: heard.append(kwargs["audio_prefix"]), with_kwargs=True
        )
        assert torch.equal(model.generate(ids[:1], assistant_model=assistant, **door, **GREEDY), expected)
        own = assistant.model.language_model.get_audio_prefix(assistant.model.get_audio_embeds(**door))
        assert heard and all((prefix - own).abs().max() < 1e-5 for prefix in heard)


def test_a_plain_llama_assists_from_the_text_alone(model, ids, audio):
    torch.manual_seed(3)
    assistant = LlamaForCausalLM(small_model(num_hidden_layers=3).config.text_config).eval()
    expected = model.generate(ids[:1], input_values=audio[:1], **GREEDY)
    assert torch.equal(model.generate(ids[:1], input_values=audio[:1], assistant_model=assistant, **GREEDY), expected)


def test_sampling_repeats_with_its_seed(model, ids, audio):
    sample = dict(max_new_tokens=12, do_sample=True, temperature=0.6, top_p=0.8)
    answers = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        answers.append(model.generate(ids, input_values=audio, **sample))
    assert torch.equal(answers[0], answers[1]) and not torch.equal(answers[0], answers[2])


def test_a_conversation_continues_from_its_cache(model, ids, audio):
    embeds = model.get_audio_features(audio).pooler_output
    first = model.generate(ids, audio_embeds=embeds, return_dict_in_generate=True, **GREEDY)
    longer = torch.cat([first.sequences, ids[:, :3]], dim=1)
    expected = model.generate(longer, audio_embeds=embeds, **GREEDY)
    cached = model.generate(longer, audio_embeds=embeds, past_key_values=first.past_key_values, **GREEDY)
    assert torch.equal(cached, expected)


def test_the_cache_has_the_name_that_older_and_newer_transformers_give_it(model, ids, audio):
    heard = {"audio_embeds": model.get_audio_features(audio).pooler_output}
    expected = model(ids, **heard).logits[:, -1]
    for name in ("past_key_values", "cache"):
        first = model(ids[:, :-1], **heard, use_cache=True)
        step = model(ids[:, -1:], **heard, **{name: first[CACHE]})
        torch.testing.assert_close(step.logits[:, -1], expected, atol=1e-5, rtol=1e-5)
        assert step[CACHE] is first[CACHE]


def test_static_cache(model, ids, audio):
    expected = model.generate(**left_padded(ids, [9, 6, 4]), input_values=audio, **GREEDY)
    static = model.generate(
        **left_padded(ids, [9, 6, 4]),
        input_values=audio,
        cache_implementation="static",
        disable_compile=True,
        **GREEDY,
    )
    assert torch.equal(static, expected)


def test_decoding_compiles_to_one_graph(model, ids, audio):
    """`fullgraph=True` raises at a graph break; `backend="eager"` traces without the minutes of code generation."""
    embeds = model.get_audio_features(audio).pooler_output
    prefix = model.model.language_model.get_audio_prefix(embeds)
    cache = StaticCache(config=model.config.text_config, max_cache_len=32)
    expected = greedy_by_full_forwards(model, ids, audio_embeds=embeds)
    torch.compiler.reset()
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=backend)
    with torch.no_grad():
        next_ids = model(ids, audio_prefix=prefix, past_key_values=cache).logits[:, -1].argmax(-1, keepdim=True)
        sequence = torch.cat([ids, next_ids], dim=1)
        for position in range(ids.shape[1], ids.shape[1] + 4):
            position_ids = torch.tensor([[position]])
            output = compiled(next_ids, position_ids=position_ids, audio_prefix=prefix, past_key_values=cache)
            next_ids = output.logits[:, -1].argmax(-1, keepdim=True)
            sequence = torch.cat([sequence, next_ids], dim=1)
    assert torch.equal(sequence, expected[:, : sequence.shape[1]])
    assert len(graphs) == 1
