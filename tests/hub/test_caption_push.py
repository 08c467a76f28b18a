"""`mullama caption --push-to-hub` against a Hub on loopback, and what comes back from there."""

import json
import sys

import numpy as np
import soundfile
from mullama.tests.hub.conftest import MULLAMA

LOAD = """
import json, os, sys
from datasets import load_dataset
for row in load_dataset("alice/captions", split="train", streaming=True):
    print(json.dumps([row["id"], len(row["audio"]["bytes"]), row["caption"]]))
sys.stdout.flush()
os._exit(0)  # not by way of Arrow's read-ahead, which may hang
"""


def test_captions_arrive_and_load(hub, process, random_model, tmp_path):
    for number in range(3):
        time = np.arange(24_000) / 24_000
        (tmp_path / "music").mkdir(exist_ok=True)
        soundfile.write(
            tmp_path / "music" / f"{number}.ogg", 0.3 * np.sin(2 * np.pi * 110 * (number + 2) * time), 24_000
        )
    command = (MULLAMA, "caption", "music", "--model", random_model, "--max-new-tokens", 4, "--workers", 0)
    pushing = ("--out", "captions", "--push-to-hub", "alice/captions")

    # Nothing is made that could not be sent.
    for repo, environment, told in (
        ("alice/captions", {"HF_TOKEN": None}, "There is no token"),
        ("my captions", {}, "is no repository's name"),
    ):
        refused = process(*command, *pushing[:3], repo, **environment)
        assert refused.returncode == 1 and told in refused.stderr and not (tmp_path / "captions").exists()

    done = process(*command, *pushing)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"captions: 3 files\n{hub.url}/datasets/alice/captions\n"
    files = hub.files("alice/captions", "dataset")
    assert {"README.md", "captions.jsonl", "data/train-00000-of-00001.parquet"} < files.keys()
    assert not any(name.startswith("audiofolder") for name in files)
    loaded = process(sys.executable, "-c", LOAD)
    rows = [json.loads(line) for line in (tmp_path / "captions" / "captions.jsonl").read_text().splitlines()]
    assert [json.loads(line) for line in loaded.stdout.splitlines()] == [
        [row["audio"], (tmp_path / "music" / row["audio"]).stat().st_size, row["caption"]] for row in rows
    ], loaded.stderr
