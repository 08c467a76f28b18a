"""The handler as Inference Endpoints run it: from an exported folder, where this package is not installed."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mullama.asking import load_asker
from mullama.model_card.cards import make_model_card
from mullama.modeling_mullama import handler as handler_module
from mullama.modeling_mullama.export_mullama import export_model_folder
from mullama.modeling_mullama.handler import EndpointHandler

ROOT = Path(__file__).parents[1]
QUESTION = "Is it a slow piece?"

# Loads it as huggingface-inference-toolkit does, in a process that has no `mullama`; requests come on stdin.
ENDPOINT = """
import importlib.util, json, sys
sys.modules["mullama"] = None
spec = importlib.util.spec_from_file_location("handler.EndpointHandler", sys.argv[1] + "/handler.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
handler = module.EndpointHandler(sys.argv[1])
assert type(handler.model).__module__.startswith("transformers_modules."), type(handler.model).__module__
for line in sys.stdin:
    try:
        print(json.dumps(handler(json.loads(line))))
    except ValueError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def folder(random_model, tmp_path_factory):
    """The random model, exported."""
    asker = load_asker(random_model, "cpu")
    card = make_model_card("Random", "Gibberish.", "apache-2.0", "Apache-2.0.")
    return export_model_folder(asker.model, asker.processor, tmp_path_factory.mktemp("endpoint") / "model", card)


@pytest.fixture(scope="module")
def handler(random_model):
    return EndpointHandler(str(random_model))


@pytest.fixture(scope="module")
def asker(random_model):
    return load_asker(random_model, "cpu")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Two songs of different length, the longer one of three windows."""
    place = tmp_path_factory.mktemp("songs")
    time = np.arange(12 * 24_000) / 24_000
    soundfile.write(
        place / "long.ogg", 0.5 * np.sin(2 * np.pi * 220 * 2 ** (np.floor(time * 4) % 12 / 12) * time), 24_000
    )
    soundfile.write(place / "short.wav", np.random.default_rng(0).normal(0, 0.1, 30_000), 24_000)
    return place


@pytest.fixture(scope="module")
def server(songs):
    """The songs over HTTP; /moved leads to another host, /endless never ends."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "ftp://127.0.0.1/song.ogg")
                self.end_headers()
            elif self.path == "/endless":
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(bytes(2**10))
                        time.sleep(0.001)  # so that the seconds it may take are over before the bytes
                except OSError:
                    pass
            else:
                super().do_GET()

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(songs)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def private(monkeypatch):
    monkeypatch.setenv(handler_module.PRIVATE_VARIABLE, "1")


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_the_embedded_folder_carries_this_handler(folder):
    code = ("configuration_mert", "configuration_mullama", "modeling_mert", "modeling_mullama", "processing_mullama")
    assert {path.stem for path in folder.glob("*.py")} == {*code, "audio_io", "handler"}
    assert (folder / "handler.py").read_text() == (ROOT / "modeling_mullama" / "handler.py").read_text()
    embedded = ROOT / "checkpoints" / "mullama-tiny"
    for name in ("handler.py", "requirements.txt"):
        assert (embedded / name).read_text() == (folder / name).read_text(), name


def test_an_exported_folder_answers_where_this_package_is_not_installed(folder, songs, server, asker, tmp_path):
    long, short = songs / "long.ogg", songs / "short.wav"
    few = {"max_new_tokens": 12, "temperature": 0}
    requests = [
        {"inputs": encoded(long), "parameters": few},
        {"inputs": [{"audio": f"{server}/short.wav", "question": QUESTION}, encoded(long), "?"], "parameters": few},
        {"inputs": {"audio": f"{server}/gone.wav"}},
    ]
    environment = os.environ | {
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "OMP_NUM_THREADS": "1",
        handler_module.PRIVATE_VARIABLE: "1",
    }
    shutil.copytree(folder, tmp_path / "repository")
    done = subprocess.run(
        [sys.executable, "-c", ENDPOINT, str(tmp_path / "repository")],
        input="".join(json.dumps(request) + "\n" for request in requests),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    described = {"generated_text": asker.ask(asker.hear(long), "Describe the audio", 12)}
    answered = {"generated_text": asker.ask(asker.hear(short), QUESTION, 12)}
    refused = {"error": "the audio: neither an http(s) URL nor base64"}
    assert list(map(json.loads, done.stdout.splitlines())) == [
        described,
        [answered, described, refused],
        f"{server}/gone.wav: the server answers 404 File not found",
    ]


def test_a_conversation_goes_on(handler, asker, songs):
    song = songs / "long.ogg"
    earlier = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "It is slow."},
    ]
    ask = {"type": "text", "text": "And loud?"}
    apart = {"audio": encoded(song), "messages": [*earlier, {"role": "user", "content": [ask]}]}
    heard = [{"type": "audio", "audio": f"data:audio/ogg;base64,{encoded(song)}"}, ask]
    within = {"messages": [*earlier, {"role": "user", "content": heard}]}
    alone = {"audio": encoded(song), "question": "And loud?"}
    answers = handler({"inputs": [apart, within, alone], "parameters": {"max_new_tokens": 16, "temperature": 0}})
    assert answers[0] == answers[1] != answers[2]
    prompt = asker.processor.apply_chat_template(
        [*earlier, {"role": "user", "content": "And loud?"}], tokenize=True, return_dict=True
    )
    output = asker.model.generate(
        **prompt, audio_embeds=asker.hear(song).audio_embeds, max_new_tokens=16, do_sample=False
    )
    text = asker.processor.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert answers[0] == {"generated_text": text}


def test_an_audio_of_several_questions_is_heard_once(handler, songs):
    song, runs = (songs / "long.ogg").read_bytes(), []
    hook = handler.model.model.audio_tower.register_forward_hook(lambda *_: runs.append(None))
    inputs = [{"audio": song, "question": f"Question {n}?"} for n in range(4)]
    answers = handler({"inputs": inputs, "parameters": {"max_new_tokens": 2}})
    hook.remove()
    assert len(runs) == 3 and len(answers) == 4  # three windows


def test_a_seed_draws_the_same_again(handler, songs):
    def draw(seed: int | None) -> str:
        parameters = {"temperature": 5.0, "max_new_tokens": 16, "seed": seed}
        return handler({"inputs": encoded(songs / "short.wav"), "parameters": parameters})["generated_text"]

    assert draw(1) == draw(1) != draw(2)
    assert draw(None) == draw(0)


def test_an_answer_ends_where_the_positions_end(handler, asker, songs):
    """Each row of a batch at its own end, as if it were asked alone."""
    song, long = songs / "short.wav", QUESTION
    while len(handler._tokenize([{"role": "user", "content": f"{long} slow"}])) < 500:
        long += " slow"
    questions = [QUESTION, long]
    inputs = [{"audio": encoded(song), "question": question} for question in questions]
    answers = handler({"inputs": inputs, "parameters": {"temperature": 0, "max_new_tokens": 40}})
    heard = asker.hear(song)
    assert [answer["generated_text"] for answer in answers] == [
        asker.ask(heard, question, 40) for question in questions
    ]


def test_addresses_inside_are_refused(handler, server, monkeypatch):
    monkeypatch.delenv(handler_module.PRIVATE_VARIABLE, raising=False)
    port = server.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "10.0.0.1"):
        with pytest.raises(ValueError, match="is not a public address"):
            handler({"inputs": f"http://{host}:{port}/short.wav"})
    with pytest.raises(ValueError, match="is not a public address"):
        handler({"inputs": "https://2130706433/short.wav"})
    assert handler_module._is_public("8.8.8.8") and handler_module._is_public("2606:4700::1111")
    for address in ("100.64.0.1", "224.0.0.1", "fd00::1", "fe80::1%eth0", "64:ff9b::7f00:1", "2002:7f00:1::"):
        assert not handler_module._is_public(address), address


def test_files_of_the_machine_are_not_read(handler, songs):
    song = str(songs / "short.wav")
    for audio in (song, f"file://{song}"):
        with pytest.raises(ValueError, match=r"neither an http\(s\) URL nor base64"):
            handler({"inputs": audio})
    for part in ({"type": "audio", "path": song}, {"type": "image", "url": song}, {"type": "video", "path": song}):
        messages = [{"role": "user", "content": [part, {"type": "text", "text": QUESTION}]}]
        with pytest.raises(ValueError, match="a part is"):
            handler({"inputs": {"messages": messages}})


@pytest.mark.usefixtures("private")
def test_too_much_is_refused(handler, server, songs, monkeypatch):
    with pytest.raises(ValueError, match="cannot be fetched .*unknown url type: ftp"):
        handler({"inputs": f"{server}/moved"})
    with pytest.raises(ValueError, match="33 inputs in one request: at most 32"):
        handler({"inputs": ["x"] * 33})
    monkeypatch.setattr(handler_module, "MAX_BYTES", 10_000)
    for audio in (f"{server}/endless", f"{server}/long.ogg", encoded(songs / "long.ogg")):
        with pytest.raises(ValueError, match="more than 10,000 bytes"):
            handler({"inputs": audio})
    monkeypatch.undo()
    monkeypatch.setenv(handler_module.PRIVATE_VARIABLE, "1")
    monkeypatch.setattr(handler_module, "URL_SECONDS", 0.2)
    with pytest.raises(ValueError, match="not fetched within 0.2 s"):
        handler({"inputs": f"{server}/endless"})
    monkeypatch.setattr(handler_module, "MAX_SECONDS", 6.0)
    with pytest.raises(ValueError, match="the audio: longer than 6 s: send a part of it"):
        handler({"inputs": encoded(songs / "long.ogg")})
    assert handler({"inputs": encoded(songs / "short.wav"), "parameters": {"max_new_tokens": 1}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "the request needs `inputs`"),
        ([], "the request needs `inputs`"),
        ({"inputs": []}, "the request needs `inputs`"),
        ({"inputs": 5}, "an input is an audio"),
        ({"inputs": {"audio": "x", "prompt": "?"}}, "an input is an audio"),
        ({"inputs": {"question": QUESTION}}, "an input needs one audio, this one has 0"),
        ({"inputs": {"audio": "x", "question": "  "}}, "the question is empty"),
        ({"inputs": {"audio": "x", "question": 7}}, "a message's `content` is a text"),
        ({"inputs": {"audio": "x", "question": "a", "messages": []}}, "not both"),
        ({"inputs": {"audio": "x", "messages": []}}, "the last of `messages` must be the user's"),
        ({"inputs": {"audio": "x", "messages": [{"role": "user", "content": None}]}}, "`content` is a text"),
        ({"inputs": {"audio": "x", "messages": [{"role": "tool", "content": "a"}] * 2}}, "must be the user's"),
        ({"inputs": {"audio": "", "question": "a"}}, "the audio: an empty file"),
        ({"inputs": {"audio": 5, "question": "a"}}, "an audio is a URL or a file in base64"),
        ({"inputs": "bm9uc2Vuc2U="}, "the audio: <8 bytes>: not audio that can be decoded"),
        ({"inputs": {"audio": "x", "question": "slow " * 2_000}}, "the question is too long"),
        ({"inputs": "x", "parameters": {"num_beams": 4}}, "`parameters` is an object of max_new_tokens"),
        ({"inputs": "x", "parameters": {"temperature": -1}}, "`temperature` is -1, it must be from 0 to"),
        ({"inputs": "x", "parameters": {"max_new_tokens": "many"}}, "`max_new_tokens` must be a whole number"),
        ({"inputs": "http://[broken/song.wav"}, "Invalid IPv6 URL"),
    ],
)
def test_what_cannot_be_answered_is_one_line(handler, data, message):
    with pytest.raises(ValueError) as raised:
        handler(data)
    assert message in str(raised.value) and "\n" not in str(raised.value)
