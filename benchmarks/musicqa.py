"""
What making and streaming MusicQA costs, against servers on loopback.

    python benchmarks/musicqa.py overhead   10,000 clips through a model's server that answers at once
    python benchmarks/musicqa.py stream     the first row of a 500 MB shard over HTTP, in a fresh process
    python benchmarks/musicqa.py build      memory and speed of building that shard

It needs the tests' servers, so it runs from a checkout. `--folder` keeps the files it makes (else they are temporary).
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests" / "dataset_scripts"
CLIPS = 10_000
CONCURRENCY = 32
SHARD_CLIPS = 95  # of 30 s, 44.1 kHz, stereo, 16 bit: 5.3 MB each, 503 MB


def start_server(script: str, *arguments: object) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, str(TESTS / script), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, f"http://127.0.0.1:{int(process.stdout.readline())}"


def overhead(folder: Path) -> dict:
    """Our own time a clip: a whole run, less the same requests made by huggingface_hub's client and nothing else."""
    from mullama.dataset_scripts.generate import generate_qa
    from mullama.dataset_scripts.llm import MAX_NEW_TOKENS, TEMPERATURE, TOP_P, Endpoint
    from mullama.dataset_scripts.prompts import build_request
    from mullama.dataset_scripts.sources import Clip

    caption = "A slow ballad with piano, strings and a soft female voice. It sounds sad. It would suit a film's end."
    tags = ("ballad", "piano", "strings", "female vocals", "sad")
    clips = [Clip(f"clip-{n}", "bench", f"{n}. {caption}", tags, (f"{n}.wav",), "cc0-1.0", None) for n in range(CLIPS)]
    requests = [
        (request.messages, {"type": "json_schema", "json_schema": {"name": kind, "schema": request.schema}})
        for clip in clips
        for kind in ("describe", "open")
        for request in [build_request(clip, kind, True)]
    ]
    process, root = start_server("llm_server.py")

    async def bare() -> None:
        from huggingface_hub import AsyncInferenceClient

        waiting = iter(requests)
        async with AsyncInferenceClient(base_url=f"{root}/v1", api_key="none") as client:

            async def work() -> None:
                for seed, (messages, form) in enumerate(waiting):
                    await client.chat_completion(
                        messages,
                        model="loopback-7b",
                        max_tokens=MAX_NEW_TOKENS,
                        temperature=TEMPERATURE,
                        top_p=TOP_P,
                        seed=seed,
                        extra_body={"response_format": form},
                    )

            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

    try:
        wall, cpu = time.perf_counter(), time.process_time()
        asyncio.run(bare())
        bare_wall, bare_cpu = time.perf_counter() - wall, time.process_time() - cpu
        wall, cpu = time.perf_counter(), time.process_time()
        report = generate_qa(clips, Endpoint(f"{root}/v1"), folder / "qa.jsonl", concurrency=CONCURRENCY)
        ours_wall, ours_cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        process.kill()
    assert report.done == CLIPS
    return {
        "clips": CLIPS,
        "ms_a_clip_whole_run": ours_wall / CLIPS * 1e3,
        "ms_a_clip_client_alone": bare_wall / CLIPS * 1e3,
        "cpu_ms_a_clip_whole_run": ours_cpu / CLIPS * 1e3,
        "cpu_ms_a_clip_client_alone": bare_cpu / CLIPS * 1e3,
        "cpu_ms_a_clip_our_own": (ours_cpu - bare_cpu) / CLIPS * 1e3,
    }


def make_audio(folder: Path) -> Path:
    """30 s clips of noise; as wav, so that their size is what is measured and not a decoder."""
    import numpy as np
    import soundfile

    audio = folder / "audio"
    audio.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(SHARD_CLIPS):
        path = audio / f"{number}.wav"
        if not path.exists():
            soundfile.write(path, rng.integers(-9000, 9000, (30 * 44_100, 2), dtype=np.int16), 44_100)
    return audio


def build(folder: Path) -> dict:
    """Build the shard; peak memory of this process against what it held before."""
    from mullama.dataset_scripts.build import build_dataset
    from mullama.dataset_scripts.rows import make_row

    audio = make_audio(folder)
    pairs = [{"question": f"Question {n}?", "answer": "It is noise, all of it.", "kind": "open"} for n in range(9)]
    rows = [make_row(str(number), "bench", pairs, split="test") for number in range(SHARD_CLIPS)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall = time.perf_counter()
    build_dataset(rows, folder / "dataset", audio, shard_bytes=600_000_000)
    seconds = time.perf_counter() - wall
    (shard,) = (folder / "dataset" / "data").iterdir()
    return {
        "shard_mb": shard.stat().st_size / 1e6,
        "seconds": seconds,
        "mb_a_second": shard.stat().st_size / 1e6 / seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_mib_before": before,
    }


def stream(folder: Path) -> dict:
    """The first row over HTTP: with `datasets` imported, until its audio is here."""
    if not (folder / "dataset").exists():
        build(folder)
    (shard,) = (folder / "dataset" / "data").iterdir()
    process, root = start_server("file_server.py", shard.parent)
    script = (
        "import time\n"
        "from datasets import load_dataset\n"
        "start = time.perf_counter()\n"
        f"rows = load_dataset('parquet', data_files='{root}/{shard.name}', split='train', streaming=True)\n"
        "row = next(iter(rows))\n"
        "print(time.perf_counter() - start, len(row['audio']['bytes']), row['qa'][0]['question'], flush=True)\n"
        "import os; os._exit(0)  # Arrow's threads, still reading ahead, may hang an interpreter that ends\n"
    )
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        with urllib.request.urlopen(f"{root}/stats") as response:
            sent = json.load(response)[shard.name]
    finally:
        process.kill()
    seconds, _ = done.stdout.split(maxsplit=1)
    return {"shard_mb": shard.stat().st_size / 1e6, "seconds": float(seconds), "mb_fetched": sent / 1e6}


def main() -> None:
    measures = {"overhead": overhead, "build": build, "stream": stream}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("measure", choices=measures)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in measures[args.measure](folder).items():
            print(f"{name:28} {value:.3f}" if isinstance(value, float) else f"{name:28} {value}")


if __name__ == "__main__":
    main()
