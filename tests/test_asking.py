"""Songs prepared once and asked often: the same as the model and the processor by themselves."""

import numpy as np
import pytest
import soundfile
import torch
from mullama.asking import QuestionError, load_asker
from mullama.processing import read_audio

QUESTION = "Is it a slow piece?"


@pytest.fixture(scope="module")
def asker(random_model):
    return load_asker(random_model)


@pytest.fixture(scope="module")
def melody(tmp_path_factory):
    """12 s and 1,000 samples at 24 kHz: two windows of the random model, a third, and too little for a fourth."""
    path = tmp_path_factory.mktemp("songs") / "melody.wav"
    time = np.arange(15 * 24_000 + 1_000) / 24_000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 220 * 2 ** (np.floor(time * 4) % 12 / 12) * time), 24_000)
    return path


@pytest.mark.parametrize("part", [(None, None), (4.0, None), (None, 9.5), (1.25, 1.5)])
def test_hearing_in_windows_equals_the_processor_and_the_model(asker, melody, part):
    song = asker.hear(melody, *part)
    inputs = asker.processor(audio=read_audio(melody, *part))
    with torch.inference_mode():
        whole = asker.model.get_audio_features(**inputs).pooler_output
    torch.testing.assert_close(song.audio_embeds, whole, rtol=1e-5, atol=1e-5)
    assert song.seconds == pytest.approx(int(inputs["input_values_mask"].sum()) / 24_000)


def test_questions_do_not_hear_again(asker, melody):
    song, runs = asker.hear(melody), []
    hook = asker.model.model.audio_tower.register_forward_hook(lambda *_: runs.append(None))
    answers = [asker.ask(song, QUESTION, max_new_tokens=8) for _ in range(2)]
    hook.remove()
    assert not runs and answers[0] == answers[1]


def test_another_song_is_another_answer(asker, melody, audio_corpus):
    other = asker.hear(audio_corpus.odd["silence"])
    assert asker.ask(asker.hear(melody), QUESTION, 24) != asker.ask(other, QUESTION, 24)


def test_pieces_make_up_the_answer(asker, melody):
    pieces = []
    answer = asker.ask(asker.hear(melody), QUESTION, max_new_tokens=24, on_text=pieces.append)
    assert len(pieces) > 1 and "".join(pieces).strip() == answer


def test_an_answer_ends_where_the_positions_end(asker, melody):
    positions = asker.model.config.text_config.max_position_embeddings
    song = asker.hear(melody, end=1)

    def prompt_length(question: str) -> int:
        messages = [{"role": "user", "content": question}]
        return asker.processor.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"].shape[1]

    longest = QUESTION
    while prompt_length(f"{longest} slow") < positions:
        longest += " slow"
    assert isinstance(asker.ask(song, longest), str)
    with pytest.raises(QuestionError, match=f"of at most {positions - 1}"):
        asker.ask(song, longest + " slow" * 2)


def test_weights_in_half_precision_are_computed_in_single_on_a_cpu(random_model, tmp_path, melody):
    whole = load_asker(random_model, device="cpu")
    whole.model.to(torch.float16).save_pretrained(tmp_path)
    whole.processor.save_pretrained(tmp_path)
    half = load_asker(tmp_path, device="cpu")
    assert half.model.dtype == torch.float32
    assert half.ask(half.hear(melody), QUESTION, max_new_tokens=8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_answers_alike(random_model, melody):
    on_gpu, on_cpu = load_asker(random_model, "cuda"), load_asker(random_model, "cpu")
    assert on_gpu.ask(on_gpu.hear(melody), QUESTION, 8) == on_cpu.ask(on_cpu.hear(melody), QUESTION, 8)


def test_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="^no-such/model: neither a folder here nor") as raised:
        load_asker("no-such/model")
    assert "\n" not in str(raised.value)
