"""Generation against a model's server on loopback: real captions, a server that misbehaves, kills, any concurrency."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from mullama.dataset_scripts.generate import FAILURES_IN_A_ROW, generate_qa
from mullama.dataset_scripts.llm import Endpoint, LLMError, open_llm
from mullama.dataset_scripts.prompts import TEMPLATE_QUESTIONS
from mullama.dataset_scripts.sources import read_clips


@pytest.fixture(scope="module")
def clips(musiccaps):
    return read_clips("musiccaps", musiccaps)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_nine_pairs_for_every_clip(clips, llm_server, tmp_path):
    server = llm_server()
    out = tmp_path / "new" / "qa.jsonl"
    report = generate_qa(clips, Endpoint(server.url), out, limit=20, seed=3)
    assert (report.clips, report.done_before, report.done, report.failed) == (20, 0, 20, 0)
    rows = rows_of(out)
    assert [row["id"] for row in rows] == [clip.id for clip in clips[:20]]
    first = rows[0]
    assert [pair["question"] for pair in first["qa"][:4]] == list(TEMPLATE_QUESTIONS)
    assert [pair["kind"] for pair in first["qa"]] == ["template"] * 4 + ["open"] * 5
    assert "sustained strings" in first["qa"][0]["answer"]  # from the clip's own caption
    assert (first["llm"], first["seed"], first["split"]) == ("loopback-7b", 3, "pretrain")
    assert first["caption"] == clips[0].caption and tuple(first["tags"]) == clips[0].tags
    assert sorted(path.name for path in out.parent.iterdir()) == ["qa.jsonl"]
    assert server.stats()["counts"]["requests"] == 1 + 2 * 20  # one to see what the server can


def test_a_misbehaving_server_costs_no_clip_and_concurrency_changes_nothing(clips, llm_server, tmp_path):
    files = []
    for concurrency in (1, 24):
        server = llm_server("--misbehave", "0.3")
        out = tmp_path / f"{concurrency}.jsonl"
        report = generate_qa(clips, Endpoint(server.url, timeout=2.0), out, seed=1, limit=60, concurrency=concurrency)
        files.append(out.read_bytes())
        counts = server.stats()["counts"]
        assert report.done == 60 and report.failed == 0
        # every way of misbehaving was met
        assert {"500", "429", "hang", "html", "broken connection", "half answer", "wrong form"} <= set(counts)
        assert {"too few pairs", "too many pairs", "names tags", "leaks instruction", "empty answer"} <= set(counts)
    assert files[0] == files[1]
    assert all(len(row["qa"]) == 9 for row in rows_of(out))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_of_musiccaps_through_a_misbehaving_server(clips, llm_server, tmp_path):
    server = llm_server("--misbehave", "0.15")
    out = tmp_path / "qa.jsonl"
    report = generate_qa(clips, Endpoint(server.url, timeout=5.0), out, concurrency=64)
    rows = rows_of(out)
    failures = rows_of(report.failures_path)
    # One caption says "tag", and this server repeats it in every answer: that clip cannot be done.
    assert (report.clips, report.done, report.failed) == (5521, 5520, 1)
    assert any("names the tag list" in reason for reason in failures[0]["reasons"])
    done = [row["id"] for row in rows]
    assert done == [clip.id for clip in clips if clip.id != failures[0]["id"]]
    assert all(len(row["qa"]) == 9 and all(pair["answer"] for pair in row["qa"]) for row in rows)


def start(arguments: list[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "mullama.cli", "data", "generate", *arguments]
    # A suite that runs in the background has SIGINT ignored, which its children would inherit.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)


def test_kill_9_loses_no_clip_and_repeats_none(clips, musiccaps, llm_server, tmp_path):
    server = llm_server("--misbehave", "0.2", "--delay", "0.02")
    out, journal = tmp_path / "qa.jsonl", tmp_path / "qa.jsonl.partial"
    arguments = ["--source", "musiccaps", "--root", str(musiccaps), "--llm", server.url, "--timeout", "3"]
    arguments += ["--limit", "120", "--concurrency", "4", "--out", str(out)]
    for wanted in (15, 45):
        process = start(arguments)
        deadline = time.monotonic() + 120
        while (journal.read_text().count("\n") if journal.exists() else 0) < wanted:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL and not out.exists()
    with journal.open("ab") as file:
        file.write(b'{"row": {"id": "torn')  # what a kill amid a write would leave
    before = journal.read_text().count("\n")
    assert 45 <= before < 120

    process = start(arguments)
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0
    assert f"120 of 120 clips are in {out} ({120 - before} of them new)" in told
    assert [row["id"] for row in rows_of(out)] == [clip.id for clip in clips[:120]]
    assert not journal.exists()
    # Asked again: what was under way at a kill, at most two requests of each of four clips, and what the line lost.
    stats = server.stats()
    passing = sum(stats["counts"].get(name, 0) for name in ("500", "429", "hang", "html", "broken connection"))
    assert stats["asked_again"] <= passing + 2 * 4 * 2

    uninterrupted = tmp_path / "uninterrupted.jsonl"
    other = llm_server("--misbehave", "0.2")
    generate_qa(clips, Endpoint(other.url, timeout=3.0), uninterrupted, limit=120)
    assert uninterrupted.read_bytes() == out.read_bytes()


def test_a_longer_limit_goes_on_and_a_shorter_one_drops_nothing(clips, llm_server, tmp_path):
    server = llm_server()
    out = tmp_path / "qa.jsonl"
    generate_qa(clips, Endpoint(server.url), out, limit=5)
    report = generate_qa(clips, Endpoint(server.url), out, limit=9)
    assert (report.done_before, report.done) == (5, 4)
    before = out.read_bytes()
    report = generate_qa(clips, Endpoint(server.url), out, limit=3)
    assert (report.clips, report.done_before, report.done) == (3, 3, 0)
    assert out.read_bytes() == before and len(rows_of(out)) == 9


def test_failures_are_written_down_and_tried_again_by_the_next_run(clips, llm_server, tmp_path):
    server = llm_server()
    tagged = [clip for clip in clips if re.search(r"\btag\b", clip.caption)]
    out = tmp_path / "qa.jsonl"
    chosen = [*clips[:2], *tagged, *clips[2:4]]
    report = generate_qa(chosen, Endpoint(server.url), out)
    assert (report.done, report.failed) == (4, 1)
    (failure,) = rows_of(report.failures_path)
    assert failure["id"] == tagged[0].id and failure["request"] == "describe" and failure["by"] == "reply"
    assert len(failure["reasons"]) == 5 and all("names the tag list" in reason for reason in failure["reasons"])
    asked = server.stats()["counts"]["requests"]
    report = generate_qa(chosen, Endpoint(server.url), out)
    assert (report.done_before, report.done, report.failed) == (4, 0, 1)
    assert server.stats()["counts"]["requests"] == asked + 1 + 5
    assert len(rows_of(out)) == 4 and len(rows_of(report.failures_path)) == 1


def test_a_server_that_dies_stops_the_run_and_keeps_what_is_done(clips, llm_server, tmp_path):
    server = llm_server("--die-after", "60")
    out = tmp_path / "qa.jsonl"
    with pytest.raises(LLMError) as caught:
        generate_qa(clips, Endpoint(server.url, retries=0), out, limit=200, concurrency=4)
    told = str(caught.value)
    assert f"{FAILURES_IN_A_ROW} clips in a row got no reply" in told and "cannot be reached" in told
    kept = rows_of(tmp_path / "qa.jsonl.partial")
    done = [entry["row"]["id"] for entry in kept if "row" in entry]
    assert 20 <= len(done) <= 30 and f"{len(done)} clips are kept" in told

    report = generate_qa(clips, Endpoint(llm_server().url), out, limit=200)
    assert (report.done_before, report.done, report.failed) == (len(done), 200 - len(done), 0)


def test_another_run_over_the_same_file_is_refused(clips, llm_server, tmp_path):
    server = llm_server()
    out = tmp_path / "qa.jsonl"
    generate_qa(clips, Endpoint(server.url), out, limit=2)
    with pytest.raises(ValueError, match="begun with seed 0, now it is 1"):
        generate_qa(clips, Endpoint(server.url), out, limit=4, seed=1)
    with pytest.raises(ValueError, match="begun with llm 'loopback-7b', now it is 'org/hosted-7b'"):
        generate_qa(clips, Endpoint(server.url, model="org/hosted-7b"), out, limit=4)
    out.write_text("not JSON\n")
    with pytest.raises(ValueError, match="line 1: not JSON"):
        generate_qa(clips, Endpoint(server.url), out, limit=4)


def test_two_processes_do_not_write_one_file(clips, musiccaps, llm_server, tmp_path):
    server = llm_server("--delay", "0.2")
    out = tmp_path / "qa.jsonl"
    arguments = ["--source", "musiccaps", "--root", str(musiccaps), "--llm", server.url, "--out", str(out)]
    process = start([*arguments, "--limit", "2000"])
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "qa.jsonl.partial").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(ValueError, match="another `mullama data generate` is writing it"):
            generate_qa(clips, open_llm(server.url), out, limit=2000)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130 and "the same command goes on" in told
    finally:
        process.kill()
