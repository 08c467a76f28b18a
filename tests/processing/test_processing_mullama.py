"""The feature extractor's windows, and the processor's prompts, against the released numbers and transformers' own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from mullama.processing import AudioError, MuLlamaFeatureExtractor, MuLlamaProcessor, read_audio
from mullama.training.tiny_tokenizer import train_tokenizer
from safetensors.numpy import load_file
from transformers import AutoProcessor, LlamaTokenizer, Wav2Vec2FeatureExtractor

RATE = 24_000
RELEASED_PROMPT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Input:\n"
    "<built-in function input>\n\n### Response:"
)


@pytest.fixture(scope="module")
def golden(release) -> dict:
    return load_file(release / "golden.safetensors") | json.loads((release / "golden.json").read_text())


@pytest.fixture
def processor(release) -> MuLlamaProcessor:
    tokenizer = LlamaTokenizer.from_pretrained(release / "release" / "LLaMA")
    return MuLlamaProcessor(MuLlamaFeatureExtractor.from_pretrained(release / "release" / "MERT"), tokenizer)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.1, 0.2, shape).astype(np.float32)


def user(question: str, *audio: dict) -> dict:
    return {"role": "user", "content": [*({"type": "audio"} | a for a in audio), {"type": "text", "text": question}]}


def assistant(answer: str) -> dict:
    return {"role": "assistant", "content": [{"type": "text", "text": answer}]}


class TestFeatureExtractor:
    def test_normalises_as_released(self, release, golden):
        ours = MuLlamaFeatureExtractor.from_pretrained(release / "release" / "MERT")
        theirs = Wav2Vec2FeatureExtractor.from_pretrained(release / "release" / "MERT")
        assert ours.sampling_rate == RATE and ours.do_normalize and ours.window_seconds == 60.0
        values = ours(list(golden["wav"]))["input_values"]  # (2, 1, 72000)
        expected = theirs(list(golden["wav"]), sampling_rate=RATE, return_tensors="np").input_values
        np.testing.assert_allclose(values[:, 0], expected, atol=1e-6)

    def test_cuts_windows_and_normalises_each_by_itself(self):
        audio = noise(5 * RATE + 1_000) * np.linspace(0.01, 1, 5 * RATE + 1_000)
        batch = MuLlamaFeatureExtractor(window_seconds=2.0)(audio)
        values, mask = batch["input_values"][0], batch["input_values_mask"][0]
        assert values.shape == mask.shape == (3, 2 * RATE)
        assert values.dtype == np.float32 and mask.dtype == bool
        assert mask.sum(-1).tolist() == [2 * RATE, 2 * RATE, RATE + 1_000]
        for i, (window, real) in enumerate(zip(values, mask, strict=True)):
            part = audio[i * 2 * RATE : (i + 1) * 2 * RATE].astype(np.float64)
            np.testing.assert_allclose(window[real], (part - part.mean()) / np.sqrt(part.var() + 1e-7), atol=1e-5)
            assert not window[~real].any()

    @pytest.mark.parametrize(
        ("samples", "windows"),
        [
            (1, [400]),
            (399, [400]),
            (400, [400]),
            (RATE, [RATE]),
            (RATE + 399, [RATE]),
            (RATE + 400, [RATE, 400]),
            (3 * RATE, [RATE] * 3),
        ],
    )
    def test_no_window_is_too_short_for_the_encoder(self, samples, windows):
        mask = MuLlamaFeatureExtractor(window_seconds=1.0)(noise(samples))["input_values_mask"]
        assert mask.sum(-1).tolist() == [windows]

    def test_min_samples_is_the_encoders(self):
        mask = MuLlamaFeatureExtractor(min_samples=1_504)(noise(10))["input_values_mask"]
        assert mask.shape == (1, 1, 1_504) and mask.all()

    @pytest.mark.parametrize("value", [0.0, 0.7, -1.0, 3e38, 1e-38])
    def test_constants_and_extremes_stay_finite(self, value):
        values = MuLlamaFeatureExtractor()(np.full(RATE, value, dtype=np.float32))["input_values"]
        assert np.isfinite(values).all() and np.abs(values).max() < 1e-2

    def test_the_largest_numbers_stay_finite(self):
        values = MuLlamaFeatureExtractor()(noise(RATE) * np.float32(1e38))["input_values"]
        assert np.isfinite(values).all() and values.std() == pytest.approx(1, abs=1e-3)

    def test_a_batch_equals_its_members(self):
        extractor = MuLlamaFeatureExtractor(window_seconds=1.0)
        audios = [noise(n, seed=n) for n in (5, 30_000, RATE, 100_000)]
        batch = extractor(audios)
        for i, audio in enumerate(audios):
            single = extractor(audio)
            windows, samples = single["input_values"].shape[1:]
            np.testing.assert_array_equal(batch["input_values"][i, :windows, :samples], single["input_values"][0])
            assert batch["input_values_mask"][i].sum() == single["input_values_mask"].sum()

    @pytest.mark.parametrize("rate", [8_000, 44_100])
    def test_arrays_of_another_rate_are_resampled(self, rate):
        audio = noise(3 * rate)
        expected = MuLlamaFeatureExtractor()(soxr.resample(audio, rate, RATE, quality="HQ"))["input_values"]
        for given in (audio, torch.from_numpy(audio), audio.tolist()):
            values = MuLlamaFeatureExtractor()(given, sampling_rate=rate)["input_values"]
            np.testing.assert_allclose(values, expected, atol=1e-4)
        values = MuLlamaFeatureExtractor()({"array": audio, "sampling_rate": rate})["input_values"]
        np.testing.assert_allclose(values, expected, atol=1e-4)

    def test_files_bytes_and_dicts_are_read(self, audio_corpus):
        path = audio_corpus.odd["mp3"]
        expected = MuLlamaFeatureExtractor()(read_audio(path))["input_values"]
        # A stated rate is that of arrays: files know their own.
        batch = MuLlamaFeatureExtractor()(
            [path, str(path), path.read_bytes(), {"bytes": path.read_bytes(), "path": None}, {"path": str(path)}],
            sampling_rate=8_000,
        )
        np.testing.assert_array_equal(batch["input_values"], np.repeat(expected, 5, axis=0))

    @pytest.mark.filterwarnings("ignore:.*(broke off|taken as 0)")
    def test_all_odd_audio_becomes_finite_windows(self, audio_corpus):
        paths = [path for kind, path in audio_corpus.odd.items() if kind != "an hour"]
        batch = MuLlamaFeatureExtractor(window_seconds=2.0)(paths)
        assert np.isfinite(batch["input_values"]).all()
        assert batch["input_values_mask"].any(-1).any(-1).all()

    @pytest.mark.parametrize(
        ("audio", "words"),
        [
            ([], "empty list"),
            ([[noise(9)], []], "sample 1 has an empty list"),
            (noise(0), "no samples"),
            (np.full(99, np.nan), "every sample is NaN"),
            (noise(99, 2), r"\(samples, channels\)"),
            ([noise(2, 99)], "must be mono"),
            ({"path": None, "bytes": None}, "an audio dict needs"),
        ],
    )
    def test_what_cannot_be_heard_is_refused(self, audio, words):
        with pytest.raises(ValueError, match=words):
            MuLlamaFeatureExtractor()(audio)

    def test_bad_files_are_refused_in_one_line(self, audio_corpus):
        for kind, path in audio_corpus.bad.items():
            with pytest.raises(AudioError, match=audio_corpus.words[kind]):
                MuLlamaFeatureExtractor()(path)


class TestPrompt:
    @pytest.mark.parametrize("i", [0, 1])
    def test_is_the_released_one(self, processor, golden, i):
        messages = [user(golden["questions"][i], {"audio": golden["wav"][i]})]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        assert text == "<s>" + RELEASED_PROMPT.format(golden["questions"][i])
        for how in ({}, {"add_generation_prompt": True}):
            inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, **how)
            assert inputs["input_ids"].tolist() == [golden[f"ids{i}"].tolist()]
            assert inputs["input_values"].shape == inputs["input_values_mask"].shape == (1, 1, 72_000)

    @pytest.mark.parametrize("i", [0, 1])
    def test_and_its_answer_are_one_string_with_eos(self, processor, golden, i):
        messages = [user(golden["questions"][i]), assistant(golden["answers"][i])]
        inputs = processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        assert inputs["input_ids"].tolist() == [golden[f"full{i}"].tolist()]
        # What training is told to learn: the answer and its end, which is what follows the prompt.
        answer = golden[f"full{i}"][len(golden[f"ids{i}"]) :]
        assert inputs["input_ids"][inputs["assistant_masks"].bool()].tolist() == answer.tolist()

    def test_has_bos_once_however_it_is_asked_for(self, processor, golden):
        ids, prompt = golden["ids0"].tolist(), RELEASED_PROMPT.format(golden["questions"][0])
        assert processor(text=prompt)["input_ids"].tolist() == [ids]
        assert processor(text="<s>" + prompt)["input_ids"].tolist() == [ids]
        assert processor(text="<s>" + prompt, add_special_tokens=False)["input_ids"].tolist() == [ids]
        assert processor(text=prompt, add_special_tokens=False)["input_ids"].tolist() == [ids[1:]]

    def test_of_a_tokenizer_that_writes_bos_itself(self, release, golden, processor):
        tokenizer = LlamaTokenizer.from_pretrained(release / "release" / "LLaMA", add_bos_token=True)
        other = MuLlamaProcessor(processor.feature_extractor, tokenizer)
        messages = [user(golden["questions"][0])]
        inputs = other.apply_chat_template(messages, tokenize=True, return_dict=True)
        assert inputs["input_ids"].tolist() == [golden["ids0"].tolist()]

    def test_later_turns_repeat_its_headings(self, processor):
        first, second = RELEASED_PROMPT.format("What plays?"), RELEASED_PROMPT.format("How fast?")
        tail = second[second.index("\n\n### Instruction:") :]
        messages = [user("What plays?", {"audio": noise(RATE)}), assistant("A harp."), user("How fast?")]
        assert processor.apply_chat_template(messages) == f"<s>{first}A harp.</s>{tail}"
        # A shorter chat's text begins the longer one's: what was answered stays answered.
        for end in (1, 2):
            assert processor.apply_chat_template(messages).startswith(processor.apply_chat_template(messages[:end]))

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_masks_every_answer_of_a_padded_batch(self, processor, side):
        chats = [
            [user("What plays?"), assistant("A harp."), user("And how fast is it?"), assistant("Slowly, at first.\n")],
            [user("Loud?"), assistant("No.")],
        ]
        inputs = processor.apply_chat_template(
            chats,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
            processor_kwargs={"padding_side": side},
        )
        learnt = [
            processor.decode(ids[mask.bool()])
            for ids, mask in zip(inputs["input_ids"], inputs["assistant_masks"], strict=True)
        ]
        assert learnt == ["A harp.</s>Slowly, at first.\n</s>", "No.</s>"]
        assert not (inputs["assistant_masks"] & ~inputs["attention_mask"]).any()

    def test_system_message_opens_the_question(self, processor):
        messages = [{"role": "system", "content": "Be brief."}, user("What plays?")]
        assert processor.apply_chat_template(messages) == "<s>" + RELEASED_PROMPT.format("Be brief.\n\nWhat plays?")

    def test_continues_an_answer(self, processor):
        text = processor.apply_chat_template([user("What plays?"), assistant("It is a")], continue_final_message=True)
        assert text == "<s>" + RELEASED_PROMPT.format("What plays?") + "It is a"

    @pytest.mark.parametrize("question", ["", " ", "什么乐器?", "a\n\n### Response: b", "why? " * 20_000])
    def test_takes_any_question_to_the_letter(self, processor, question):
        inputs = processor.apply_chat_template([user(question)], tokenize=True, return_dict=True)
        expected = RELEASED_PROMPT.format(question)
        assert processor.decode(inputs["input_ids"][0], skip_special_tokens=True) == expected

    @pytest.mark.parametrize(
        ("message", "words"),
        [
            ({"role": "tool", "content": "x"}, "no such role: tool"),
            ({"role": "user", "content": [{"type": "image", "url": "x.png"}]}, "user message cannot hold image"),
            ({"role": "assistant", "content": [{"type": "audio"}]}, "assistant message cannot hold audio"),
        ],
    )
    def test_refuses_what_it_has_no_place_for(self, processor, message, words):
        with pytest.raises(Exception, match=words):
            processor.apply_chat_template([message])


class TestProcessor:
    def test_text_only(self, processor):
        assert set(processor(text="What plays?")) == {"input_ids", "attention_mask"}
        chat = processor.apply_chat_template([user("What plays?")], tokenize=True, return_dict=True)
        assert set(chat) == {"input_ids", "attention_mask"}

    def test_audio_only(self, processor):
        assert set(processor(audio=noise(RATE))) == {"input_values", "input_values_mask"}

    def test_texts_of_unlike_length_are_padded_on_the_left(self, processor):
        inputs = processor(text=["Hi", "What instruments can be heard?"])
        assert inputs["input_ids"].shape == inputs["attention_mask"].shape
        assert inputs["attention_mask"][0, 0] == 0 and inputs["attention_mask"][:, -1].all()
        assert processor.batch_decode(inputs["input_ids"], skip_special_tokens=True)[0] == "Hi"

    def test_one_audio_for_many_texts_is_encoded_once(self, processor):
        inputs = processor(text=["a", "b", "c"], audio=noise(RATE))
        assert inputs["input_ids"].shape[0] == 3 and inputs["input_values"].shape == (1, 1, RATE)

    def test_several_audios_of_a_text_stand_side_by_side(self, processor):
        a, b = noise(RATE), noise(2 * RATE, seed=1)
        inputs = processor(text="a", audio=[a, b])
        assert inputs["input_values_mask"].sum(-1).tolist() == [[[RATE], [2 * RATE]]]
        single = processor.feature_extractor(b, return_tensors="pt")
        torch.testing.assert_close(inputs["input_values"][:, 1], single["input_values"])
        inputs = processor(text=["a", "b"], audio=[[a, b], a])
        assert inputs["input_values_mask"].sum(-1).tolist() == [[[RATE], [2 * RATE]], [[RATE], [0]]]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({}, "give text, audio or both"),
            ({"text": ["a", "b", "c"], "audio": [noise(500), noise(500)]}, "2 audios do not go with 3 texts"),
            ({"text": 3}, "must be a string"),
            ({"text": []}, "must be a string"),
            ({"text": "a", "images": [1]}, "not images"),
            ({"text": "a", "audio": "missing.wav"}, "missing.wav: no such file"),
        ],
    )
    def test_refusals(self, processor, given, words):
        with pytest.raises(ValueError, match=words):
            processor(**given)

    def test_chat_takes_paths_urls_and_arrays(self, processor, audio_corpus):
        path = str(audio_corpus.odd["spaces and non-ASCII"])
        samples = soundfile.read(path, dtype="float32")[0]
        chats = [
            [user("What plays?", audio)]
            for audio in (
                {"path": path},
                {"url": path},
                {"audio": path},
                {"audio": samples},
                {"audio": {"array": samples, "sampling_rate": RATE}},
                {"audio": soxr.resample(samples, RATE, 48_000), "sampling_rate": 48_000},
            )
        ]
        inputs = processor.apply_chat_template(chats, tokenize=True, return_dict=True)
        assert inputs["input_values"].shape == (6, 1, RATE)
        for values in inputs["input_values"][1:5]:
            torch.testing.assert_close(values, inputs["input_values"][0])
        assert (inputs["input_values"][5] - inputs["input_values"][0]).abs().mean() < 1e-3

    def test_chat_keeps_whose_audio_it_is(self, processor):
        a, b, c = (noise(n * RATE, seed=n) for n in (1, 2, 3))
        chats = [
            [user("?", {"audio": a}), assistant("!"), user("?", {"audio": b})],
            [user("?", {"audio": c})],
        ]
        parts = [dict(part) for chat in chats for message in chat for part in message["content"]]
        inputs = processor.apply_chat_template(chats, tokenize=True, return_dict=True)
        assert inputs["input_values_mask"].sum(-1).tolist() == [[[RATE], [2 * RATE]], [[3 * RATE], [0]]]
        # What it was given is as it was.
        again = [part for chat in chats for message in chat for part in message["content"]]
        assert all(part.keys() == was.keys() for part, was in zip(again, parts, strict=True))
        assert chats[1][0]["content"][0]["audio"] is c

    def test_chat_takes_placeholders_whose_audio_comes_later(self, processor, golden):
        messages = [user(golden["questions"][0], {})]
        text = processor.apply_chat_template(messages)
        inputs = processor(text=text, audio=golden["wav"][0])
        assert inputs["input_ids"].tolist() == [golden["ids0"].tolist()]

    def test_chat_refuses_a_batch_that_is_half_silent(self, processor):
        with pytest.raises(ValueError, match="conversation 1 of the batch has no audio"):
            processor.apply_chat_template(
                [[user("a", {"audio": noise(RATE)})], [user("b")]], tokenize=True, return_dict=True
            )
        with pytest.raises(ValueError, match="empty conversation"):
            processor.apply_chat_template([], tokenize=True)

    @pytest.mark.parametrize("tensors", ["pt", "np", None])
    def test_gives_the_tensors_asked_for(self, processor, tensors):
        messages = [user("What plays?", {"audio": noise(RATE)})]
        inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors=tensors)
        kind = {"pt": torch.Tensor, "np": np.ndarray, None: list}[tensors]
        assert isinstance(inputs["input_ids"], kind) and isinstance(inputs["attention_mask"], kind)
        assert isinstance(inputs["input_values"], np.ndarray if tensors is None else kind)
        again = processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, processor_kwargs={"return_tensors": tensors}
        )
        assert {name: type(value) for name, value in again.items()} == {n: type(v) for n, v in inputs.items()}

    def test_names_the_models_inputs(self, processor):
        inputs = processor(text="a", audio=noise(RATE))
        assert set(processor.model_input_names) == set(inputs)


class TestSaving:
    def test_round_trip(self, processor, tmp_path, golden):
        processor.feature_extractor.window_seconds = 30.0
        processor.save_pretrained(tmp_path)
        messages = [user(golden["questions"][0], {"audio": golden["wav"][0]})]
        expected = processor.apply_chat_template(messages, tokenize=True, return_dict=True)
        for again in (MuLlamaProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
            assert isinstance(again, MuLlamaProcessor)
            assert again.feature_extractor.to_dict() == processor.feature_extractor.to_dict()
            assert again.chat_template == processor.chat_template
            inputs = again.apply_chat_template(messages, tokenize=True, return_dict=True)
            assert set(inputs) == set(expected)
            assert all(torch.equal(inputs[name], expected[name]) for name in expected)

    def test_travels_as_two_flat_files(self, processor, tmp_path):
        processor.save_pretrained(tmp_path)
        code = {path.name: path.read_text() for path in tmp_path.glob("*.py")}
        assert set(code) == {"audio_io.py", "processing_mullama.py"}
        assert not any("import mullama" in text or "from mullama" in text for text in code.values())

    def test_loads_where_the_package_is_not_installed(self, processor, tmp_path, golden, audio_corpus):
        processor.save_pretrained(tmp_path / "model")
        soundfile.write(tmp_path / "song.wav", golden["wav"][0], RATE, subtype="FLOAT")
        messages = [user(golden["questions"][0], {"path": "song.wav"}), assistant(golden["answers"][0])]
        code = f"""
import sys, json
sys.modules["mullama"] = None  # whoever imports it fails
from transformers import AutoProcessor
processor = AutoProcessor.from_pretrained("model", trust_remote_code=True)
inputs = processor.apply_chat_template(
    {messages!r}, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
)
print(json.dumps({{name: value.tolist() for name, value in inputs.items() if name != "input_values_mask"}}))
processor.save_pretrained("again")
"""
        environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")}
        run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True)
        assert run.returncode == 0, run.stderr.decode()
        inputs = json.loads(run.stdout)
        assert inputs["input_ids"] == [golden["full0"].tolist()]
        values = processor.feature_extractor(golden["wav"][0])["input_values"]
        np.testing.assert_allclose(inputs["input_values"], values, atol=1e-6)
        assert sum(inputs["assistant_masks"][0]) == len(golden["full0"]) - len(golden["ids0"])
        assert {path.name for path in Path(tmp_path, "again").glob("*.py")} == {"audio_io.py", "processing_mullama.py"}

    def test_tiny_tokenizer_fits_the_prompt_in_few_tokens(self, processor, tmp_path):
        texts = ["Which instruments play?", "The piano plays slowly."] * 3
        tokenizer = train_tokenizer(texts, tmp_path, vocab_size=400)
        small = MuLlamaProcessor(processor.feature_extractor, tokenizer)
        text = small.apply_chat_template([user("Which instruments play?")])
        assert text == "<s>" + RELEASED_PROMPT.format("Which instruments play?")
        inputs = small.apply_chat_template([user("Which instruments play?")], tokenize=True, return_dict=True)
        question = tokenizer("Which instruments play?", add_special_tokens=False).input_ids
        assert inputs["input_ids"].shape[1] == 3 + len(question)
        assert small.decode(inputs["input_ids"][0]) == text
