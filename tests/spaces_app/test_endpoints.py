"""The page's endpoints, as programs call them: gradio_client, and an MCP client."""

import ast
import asyncio
import base64
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mullama.tests.spaces_app.conftest import EXAMPLES

METAL, FLUTE = EXAMPLES / "sectoid_metal_madness.ogg", EXAMPLES / "rendered_flute_tune.ogg"
INSTRUMENTS, DETAIL, DESCRIBE = "Which instruments play?", "Describe the audio in detail.", "Describe the audio."


@pytest.fixture(scope="module")
def client(server):
    return Client(server.url, verbose=False)


def test_there_are_three_endpoints_with_stable_names(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    parameters = {name: [p["parameter_name"] for p in endpoint["parameters"]] for name, endpoint in endpoints.items()}
    assert parameters == {
        "/ask": ["audio", "question", "start", "end", "temperature", "top_p", "max_new_tokens", "seed"],
        "/caption": ["audio", "question", "per_window"],
        "/status": [],
    }
    assert all(endpoint["description"] for endpoint in endpoints.values())


def test_ask_answers_word_by_word_and_hears_a_song_once(client, clip, expected):
    song = clip(METAL.name, "asked.wav", 6)
    before = client.predict(api_name="/status")["encoder_runs"]
    job = client.submit(audio=handle_file(song), question=DETAIL, api_name="/ask")
    assert job.result() == expected(song, DETAIL)
    pieces = job.outputs()
    assert len(pieces) > 3 and all(expected(song, DETAIL).startswith(piece.strip()) for piece in pieces)
    for question in (INSTRUMENTS, "Are there drums?"):
        answer = client.predict(audio=handle_file(song), question=question, api_name="/ask")
        assert answer == expected(song, question)
    assert client.predict(api_name="/status")["encoder_runs"] - before == 2
    part = client.predict(audio=handle_file(song), question=DETAIL, start=1, end=4, api_name="/ask")
    assert part == expected(song, DETAIL, 1, 4)


def test_drawn_answers_are_drawn_by_their_seed(client):
    how = {"audio": handle_file(FLUTE), "question": DETAIL, "temperature": 1.5, "top_p": 1, "api_name": "/ask"}
    drawn = [client.predict(seed=seed, **how) for seed in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert len(client.predict(max_new_tokens=8, **how)) < len(drawn[0])


def test_caption_describes_the_whole_and_its_windows(client, expected):
    whole = client.predict(audio=handle_file(METAL), api_name="/caption")
    assert whole == {"audio": METAL.name, "duration": 12.0, "caption": expected(METAL, DESCRIBE), "windows": []}
    windowed = client.predict(audio=handle_file(METAL), question=INSTRUMENTS, per_window=True, api_name="/caption")
    assert windowed["caption"] == expected(METAL, INSTRUMENTS)
    assert windowed["windows"] == [
        {"start": start, "end": end, "caption": expected(METAL, INSTRUMENTS, start, end)}
        for start, end in ((0, 5), (5, 10), (10, 12))
    ]


def test_what_cannot_be_answered_is_told_in_one_line(client, server, audio_corpus, tmp_path):
    def refusal(audio, question=INSTRUMENTS, **how) -> str:
        with pytest.raises(AppError) as refused:
            client.predict(audio=handle_file(audio), question=question, api_name="/ask", **how)
        (line,) = str(refused.value).splitlines()
        assert str(server.uploads) not in line and "Traceback" not in line
        return line

    for kind in ("text renamed", "random bytes", "empty file", "zero samples", "all NaN"):
        assert audio_corpus.words[kind] in refusal(audio_corpus.bad[kind]), kind
    assert "shorten it" in refusal(FLUTE, "Why? " * 101)
    assert "the question is empty" in refusal(FLUTE, " ").lower()
    assert "start is 11 s, but the audio ends at 10.000 s" in refusal(FLUTE, start=11)
    assert "must lie before end" in refusal(FLUTE, start=5, end=4)
    soundfile.write(tmp_path / "long.flac", np.zeros(15 * 60 * 8_000 + 8_001, dtype=np.int16), 8_000)
    assert "long.flac: longer than 15 minutes" in refusal(tmp_path / "long.flac")
    assert client.predict(audio=handle_file(FLUTE), question=INSTRUMENTS, api_name="/ask")


def test_a_file_that_is_too_large_is_not_taken(server, tmp_path):
    (tmp_path / "large.wav").write_bytes(bytes(51 * 1024 * 1024))
    with (tmp_path / "large.wav").open("rb") as file:
        answer = httpx.post(f"{server.url}/gradio_api/upload", files={"files": file}, timeout=120)
    assert answer.status_code == 413
    assert not server.uploaded("large.wav")


def test_a_server_s_own_files_are_not_to_be_had(client, server):
    own = EXAMPLES.parents[1] / "README.md"
    stolen = {"path": str(own), "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(AppError):
        client.predict(audio=stolen, question=INSTRUMENTS, api_name="/ask")
    assert httpx.get(f"{server.url}/gradio_api/file={own}").status_code == 403


def test_it_is_an_mcp_tool(server, expected):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    audio = f"data:audio/ogg;base64,{base64.b64encode(FLUTE.read_bytes()).decode()}"

    async def use():
        async with streamable_http_client(f"{server.url}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                tools = (await session.list_tools()).tools
                answer = await session.call_tool("ask", {"audio": audio, "question": INSTRUMENTS})
                caption = await session.call_tool("caption", {"audio": audio, "per_window": True})
                return tools, answer, caption

    tools, answer, caption = asyncio.run(use())
    assert {tool.name for tool in tools} == {"ask", "caption", "status"}
    ask = next(tool for tool in tools if tool.name == "ask")
    assert ask.description.startswith("Ask a piece of music a question")
    assert all(described["description"] for described in ask.inputSchema["properties"].values())
    assert not answer.isError and answer.content[0].text == expected(FLUTE, INSTRUMENTS)
    described = ast.literal_eval(caption.content[0].text)  # Gradio gives MCP clients a dict as Python prints it
    assert described["caption"] == expected(FLUTE, DESCRIBE) and len(described["windows"]) == 2


CLIENTS, QUESTIONS_EACH = 8, 25
MAX_GROWTH = 64 * 2**20  # bytes, over the second half


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_questions_from_eight_clients_at_once(server, clip, expected):
    questions = (INSTRUMENTS, DETAIL, DESCRIBE, "Are there drums?", "Is it loud or soft?")
    songs = [clip((METAL, FLUTE)[i % 2].name, f"soak_{i}.wav", 2 + 0.9 * i) for i in range(CLIENTS)]
    truth = [{question: expected(song, question) for question in questions} for song in songs]
    assert len({tuple(answers.values()) for answers in truth}) > 2  # a mix-up would show
    clients = [Client(server.url, verbose=False) for _ in songs]
    process = psutil.Process(server.process.pid)
    memory, wrong = [], []

    def converse(which: int) -> int:
        for turn in range(QUESTIONS_EACH):
            question = questions[turn % len(questions)]
            answer = clients[which].predict(audio=handle_file(songs[which]), question=question, api_name="/ask")
            if answer != truth[which][question]:
                wrong.append((which, question, answer))
            memory.append(process.memory_info().rss)
        return turn + 1

    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answered = sum(pool.map(converse, range(CLIENTS)))
    half = len(memory) // 2
    growth = max(memory[half:]) - max(memory[:half])
    print(
        f"{answered} answers in {time.monotonic() - began:.0f} s; memory {memory[0] / 2**20:.0f} MiB at first, "
        f"{max(memory[:half]) / 2**20:.0f} at most in the first half, {max(memory[half:]) / 2**20:.0f} in the second"
    )
    assert answered == CLIENTS * QUESTIONS_EACH and wrong == []
    assert growth < MAX_GROWTH
