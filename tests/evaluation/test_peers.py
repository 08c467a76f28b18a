"""Other people's models: real classes of transformers, an endpoint and a Space on loopback that misbehave."""

import io
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mullama.evaluation.peers import EndpointPeer, PeerError, SpacePeer, TransformersPeer
from mullama.evaluation.systems import open_system

from .hearing_server import HearingServer, pitch
from .tiny_peers import make_audio_flamingo3, make_music_flamingo, make_qwen2_5_omni, make_qwen2_audio

MAKERS = {
    "qwen2_audio": (make_qwen2_audio, 30.0),
    "audioflamingo3": (make_audio_flamingo3, 600.0),
    "musicflamingo": (make_music_flamingo, 1200.0),
    "qwen2_5_omni": (make_qwen2_5_omni, 10.0),
}


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(24_000 * seconds)) / 24_000)).astype(np.float32)


@pytest.fixture(scope="module")
def peer_folder(tmp_path_factory):
    """Makes a tiny model of a kind once, and gives its folder."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = MAKERS[kind][0](tmp_path_factory.mktemp("peers") / kind)
        return made[kind]

    return make


@pytest.mark.parametrize("kind", MAKERS)
def test_a_model_of_transformers_answers_through_our_door(peer_folder, kind):
    folder = peer_folder(kind)
    peer = open_system(str(folder), device="cpu", batch_size=2)
    assert isinstance(peer, TransformersPeer) and peer.name == str(folder)
    assert peer.max_seconds == MAKERS[kind][1] and peer.sampling_rate == 16_000
    noise = np.random.default_rng(0).standard_normal(50_000).astype(np.float32) * 0.1
    audios, questions = [tone(440), None, noise, tone(440)], ["What is it?"] * 3 + ["Which instrument, say, plays?"]
    together = peer.answer(audios, questions, 8)
    alone = [peer.answer([audio], [question], 8)[0] for audio, question in zip(audios, questions, strict=True)]
    assert together == alone  # padding, company and order change nothing
    assert len(set(together)) == 4 and all(0 < len(answer) <= 8 for answer in together)


def test_an_answer_is_what_transformers_itself_gives(peer_folder):
    import soxr
    from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

    folder, audio = peer_folder("qwen2_audio"), tone(440)
    processor = AutoProcessor.from_pretrained(folder)
    model = Qwen2AudioForConditionalGeneration.from_pretrained(folder)
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nWhat?<|im_end|>\n<|im_start|>assistant\n"
    )
    heard = soxr.resample(audio, 24_000, 16_000, quality="HQ")
    inputs = processor(text=text, audio=[heard], sampling_rate=16_000, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    expected = processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert TransformersPeer(str(folder), device="cpu").answer([audio], ["What?"], 8) == [expected.strip()]


def test_drawn_answers_keep_to_their_seed_whatever_their_company(peer_folder):
    folder = str(peer_folder("qwen2_audio"))
    audios, questions = [tone(440), tone(330), tone(440)], ["What?", "What?", "How?"]
    draws = [
        TransformersPeer(folder, "cpu", seed, temperature=1.5, batch_size=size).answer(audios, questions, 8)
        for seed, size in [(0, 3), (0, 1), (1, 3)]
    ]
    assert draws[0] == draws[1] and draws[0] != draws[2]


def test_a_model_hears_no_more_than_it_can_and_says_so(peer_folder):
    peer = TransformersPeer(str(peer_folder("qwen2_audio")), device="cpu")
    long = np.concatenate([tone(440, 30), tone(880, 10)])
    with pytest.warns(UserWarning, match="hears no more than 30 s of an audio, the first"):
        cut = peer.answer([long], ["What?"], 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert peer.answer([long[: 30 * 24_000]], ["What?"], 8) == cut


def test_what_is_no_peer_is_told_in_one_line(peer_folder, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    def copy(kind: str, name: str) -> Path:
        return Path(shutil.copytree(peer_folder(kind), tmp_path / name))

    deaf = tmp_path / "deaf"
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes)).save_pretrained(deaf)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(peer_folder("qwen2_audio") / name, deaf / name)
    no_template = copy("audioflamingo3", "no template")
    (no_template / "chat_template.jinja").unlink()
    broken = copy("qwen2_audio", "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    incomplete, wrong = copy("qwen2_audio", "incomplete"), copy("qwen2_audio", "wrong")
    for folder, part, layers in [
        (incomplete, "audio_config", "encoder_layers"),
        (wrong, "text_config", "layer_types"),
    ]:
        shape = json.loads((folder / "config.json").read_text())
        shape[part][layers] = 3 if part == "audio_config" else ["full_attention"]
        (folder / "config.json").write_text(json.dumps(shape))
    for folder, problem in [
        (deaf, "which takes no audio in chat messages"),
        (no_template, "no chat template"),
        (broken, "cannot be loaded as an audio-language model"),
        (incomplete, "of its weights are missing, the first is "),
        (wrong, "no model of transformers"),
    ]:
        with pytest.raises(PeerError) as caught:
            open_system(str(folder), device="cpu")
        assert problem in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def hearing_server():
    servers = []

    def start(*troubles: str, key: str | None = None) -> HearingServer:
        servers.append(HearingServer(troubles, key))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_an_endpoint_hears_what_it_is_asked_about(hearing_server):
    server = hearing_server()
    peer = open_system(server.url, seed=7)
    assert isinstance(peer, EndpointPeer) and peer.name == "hearing-1b"
    audios = [tone(440), tone(523), None, tone(440)]
    answers = peer.answer(audios, ["What?", "What?", "What?", "How?"], 33)
    assert answers == ["What? 440 Hz", "What? 523 Hz", "What? silence", "How? 440 Hz"]
    assert {(request["max_tokens"], request["temperature"], request["seed"]) for request in server.requests} == {
        (33, 0.0, 7)
    }


def test_an_endpoint_is_asked_many_things_at_once_but_not_too_many(hearing_server):
    server = hearing_server()
    questions = [f"Number {n}?" for n in range(12)]
    answers = EndpointPeer(server.url, concurrency=3).answer([tone(440, 0.1)] * 12, questions, 8)
    assert answers == [f"{question} 440 Hz" for question in questions]
    assert 1 < server.most_at_once <= 3


def test_an_endpoint_that_misbehaves_is_asked_again(hearing_server, monkeypatch):
    monkeypatch.setattr("mullama.dataset_scripts.llm.FIRST_WAIT", 0.05)
    server = hearing_server("500", "429", "html", "broken", "hang")
    peer = EndpointPeer(server.url, timeout=1.0)
    assert peer.answer([tone(440)] * 3, ["What?"] * 3, 8) == ["What? 440 Hz"] * 3
    assert len(server.requests) == 8


def test_one_refused_question_is_told_and_left_empty(hearing_server):
    server = hearing_server()
    peer = EndpointPeer(server.url, concurrency=1)
    peer.answer([tone(440)], ["What?"], 8)
    server.troubles = ["400"]
    with pytest.warns(UserWarning, match="hearing-1b refused the question 'Who.': HTTP 400: trouble 400"):
        assert peer.answer([tone(440)] * 2, ["Who?", "What?"], 8) == ["", "What? 440 Hz"]


def test_an_endpoint_that_cannot_be_used_is_one_clear_line(hearing_server, monkeypatch, unused_port):
    monkeypatch.setattr("mullama.dataset_scripts.llm.FIRST_WAIT", 0.05)
    monkeypatch.setenv("HF_TOKEN", "open sesame")  # is for the Hub, and must not let us in
    dead, locked = f"http://127.0.0.1:{unused_port}/v1", hearing_server(key="open sesame")
    for url, model, problem in [
        (dead, None, "is the server running"),
        (dead, "m", "is the server running"),
        (locked.url, None, "HTTP 401: no such key"),
        (hearing_server("400").url, None, "HTTP 400: trouble 400"),
        (hearing_server(*["500"] * 9).url, None, "HTTP 500: trouble 500"),
    ]:
        with pytest.raises(PeerError) as caught:
            EndpointPeer(url, model).answer([tone(440)], ["What?"], 8)
        assert problem in str(caught.value) and "127.0.0.1" in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", "open sesame")
    assert EndpointPeer(locked.url).answer([tone(440)], ["What?"], 8) == ["What? 440 Hz"]


@pytest.fixture(scope="module")
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def space():
    """A real Gradio app in LTU's form, audio and question in, answer out; beside it an endpoint that is not one."""
    gradio = pytest.importorskip("gradio")
    calls = []

    def answer(path: str | None, question: str) -> str:
        calls.append(question)
        if question == "Fail once" and calls.count(question) == 1 or question == "Fail":
            raise gradio.Error("the GPU is gone")
        if path is None:
            return f"{question} silence"
        samples, rate = soundfile.read(path)
        return f" {question} {pitch(samples, rate)} Hz "

    with gradio.Blocks() as app:
        sound, words = gradio.Audio(type="filepath"), gradio.Textbox()
        size, out = gradio.Radio(["7B", "13B"], value="7B"), gradio.Textbox()
        gradio.Button().click(lambda text: text.upper(), words, out, api_name="shout")
        gradio.Button().click(
            lambda path, text, size: answer(path, text), [sound, words, size], out, api_name="predict"
        )
    with gradio.Blocks() as mute:
        gradio.Button().click(lambda text: text, gradio.Textbox(), gradio.Textbox(), api_name="echo")
    urls = [each.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")[1] for each in (app, mute)]
    yield urls
    app.close()
    mute.close()


def test_a_space_is_asked_as_ltus_is(space, monkeypatch):
    monkeypatch.setattr("mullama.evaluation.peers.SPACE_WAIT", 0.05)
    url, mute = space
    peer = open_system(f"space:{url}")
    assert isinstance(peer, SpacePeer) and peer.name == url
    audios, questions = [tone(440), tone(523), None], ["What?", "How?", "Why?"]
    assert peer.answer(audios, questions, 8) == ["What? 440 Hz", "How? 523 Hz", "Why? silence"]
    assert peer.answer([tone(440)], ["Fail once"], 8) == ["Fail once 440 Hz"]
    with pytest.raises(PeerError, match="does not answer, asked 2 times: .*the GPU is gone") as caught:
        SpacePeer(url, retries=1).answer([tone(440)], ["Fail"], 8)
    assert "\n" not in str(caught.value)
    with pytest.raises(PeerError, match="none of its endpoints .*echo.* takes an audio file and a text"):
        SpacePeer(mute)


def test_a_space_that_is_not_there_is_one_clear_line(unused_port):
    with pytest.raises(PeerError) as caught:
        SpacePeer(f"http://127.0.0.1:{unused_port}")
    assert "no Space that can be asked" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["endpoint", "transformers"])
def test_the_command_evaluates_a_peer(kind, peer_folder, hearing_server, tmp_path, monkeypatch):
    """From the shell's door: a peer's answers to what it heard, beside those of its blind baselines."""
    from mullama.cli import main
    from mullama.dataset_scripts.build import build_dataset
    from mullama.dataset_scripts.rows import make_row

    pitches, (audio, data, out) = {"a": 440, "b": 523}, (tmp_path / name for name in ("audio", "data", "out"))
    audio.mkdir()
    pairs = [{"question": "What is it?", "answer": "A tone.", "kind": "open"}]
    for name, hertz in pitches.items():
        soundfile.write(audio / f"{name}.flac", tone(hertz), 24_000)
    rows = [make_row(name, "synthetic", pairs, split="test", audio_names=[f"{name}.flac"]) for name in pitches]
    build_dataset(rows, data, audio)
    model = hearing_server().url if kind == "endpoint" else str(peer_folder("qwen2_audio"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # restored: the command sets its own
    quick = ["--no-bertscore", "--max-new-tokens", "6"]
    assert main(["evaluate", "--model", model, "--data", str(data), "--out", str(out), *quick]) == 0
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    answers = {(line["heard"], line["id"]): line["answer"] for line in lines}
    own = next(heard for heard, _ in answers)
    if kind == "endpoint":
        assert [answers[own, name] for name in pitches] == ["What is it? 440 Hz", "What is it? 523 Hz"]
    assert answers[own, "a"] != answers[own, "b"] and len({heard for heard, _ in answers}) == 4
    assert json.loads((out / "results.json").read_text())["made"]["model"] == model
