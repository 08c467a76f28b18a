"""Runs in processes of their own: killed, shared among several, short of disk and of memory, and pushed."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mullama.training.features import write_features
from mullama.training.trainer import last_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = Path(sys.executable).with_name("mullama")
TORCHRUN = Path(sys.executable).with_name("torchrun")
ADAPTER = [r"model\.multi_modal_projector\..*", r".*\.audio_prefix\.(query|gate)"]
LANGUAGE = [*ADAPTER, r"model\.language_model\..*", r"lm_head\..*"]


@pytest.fixture(scope="module")
def features(musicqa, random_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("features") / "finetune"
    write_features(str(musicqa), str(random_model), folder, split="finetune")
    return folder


@pytest.fixture
def source(musicqa, features) -> dict:
    return {"path": str(musicqa), "split": "finetune", "features": str(features)}


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


def run(*command: object, **how) -> subprocess.CompletedProcess:
    how.setdefault("env", environment())
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=800, **how)


def curve(out: Path) -> list[float]:
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def test_killed_at_any_step_the_same_command_goes_on(write_recipe, source, tmp_path):
    """With a LoRA's dropout, noise, an order of its own in each epoch and accumulation: all that draws numbers."""
    recipe = write_recipe(
        datasets=[source],
        trainable=ADAPTER,
        use_peft=True,
        lora_target_modules=[r"model\.language_model\.layers\.\d+\..*\.(q|v)_proj"],
        lora_dropout=0.2,
        noise=0.3,
        save_strategy="steps",
        save_steps=3,
        save_total_limit=2,
        max_steps=16,
        gradient_accumulation_steps=2,
        train_sampling_strategy="group_by_length",
    )
    assert run(PROGRAM, "train", recipe, "--output_dir", tmp_path / "whole").returncode == 0
    whole, killed_at = curve(tmp_path / "whole"), []
    for steps in (5, 11):
        process = subprocess.Popen(
            [PROGRAM, "train", recipe], env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        for line in process.stderr:
            if line.startswith(f"step {steps}/"):
                process.send_signal(signal.SIGKILL)
                killed_at.append(steps)
                break
        process.wait()
        process.stderr.close()
    assert killed_at == [5, 11] and last_checkpoint(tmp_path / "out")
    done = run(PROGRAM, "train", recipe)
    assert done.returncode == 0, done.stderr
    assert "step 4/16" not in done.stderr  # it did not begin anew
    assert np.allclose(curve(tmp_path / "out"), whole, atol=1e-5) and len(whole) == 16
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_hearing_that_was_killed_goes_on(random_model, tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(150):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(12_000), 24_000)
        rows.append({"id": f"n{number}", "question": "What?", "answer": "Noise.", "audio": f"{tmp_path}/{number}.wav"})
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [PROGRAM, "data", "features", tmp_path / "data.jsonl", "--model", random_model, "--out"]
    process = subprocess.Popen([*command, tmp_path / "out"], env=environment(), stderr=subprocess.DEVNULL)
    first = tmp_path / "out" / "parts" / "00000000.npz"
    while not first.is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert first.is_file() and not (tmp_path / "out" / "features.json").exists()
    stamp = first.stat().st_mtime_ns
    probe = subprocess.Popen([*command, tmp_path / "out"], env=environment(), stdout=subprocess.PIPE, text=True)
    stamps = set()
    while probe.poll() is None:
        with contextlib.suppress(FileNotFoundError):  # the parts are joined in the end
            stamps.add(first.stat().st_mtime_ns)
        time.sleep(0.01)
    assert stamps == {stamp}  # what was heard was not heard again
    assert "150 clips heard, 0 unreadable" in probe.communicate()[0]
    two = run(*torchrun(), "-m", "mullama.training.features", *command[3:], tmp_path / "two")
    assert two.returncode == 0 and two.stdout.count("150 clips heard") == 1, two.stderr
    heard, shared = (np.load(tmp_path / name / "layer_means.npy") for name in ("out", "two"))
    assert heard.shape == (150, 3, 32) and heard.dtype == np.float16
    assert np.array_equal(heard, shared)
    assert (tmp_path / "out" / "clips.jsonl").read_text() == (tmp_path / "two" / "clips.jsonl").read_text()


def torchrun() -> list[object]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [TORCHRUN, "--nproc_per_node", 2, "--master_addr", "127.0.0.1", "--master_port", port]


def test_two_processes_learn_as_one(write_recipe, source, tmp_path):
    recipe = write_recipe(datasets=[source], trainable=ADAPTER, max_steps=14, noise=0.2, save_strategy="steps")
    how = ("-m", "mullama.training.sft", "--config", recipe)
    assert run(sys.executable, *how, "--output_dir", tmp_path / "one").returncode == 0
    done = run(*torchrun(), *how, "--output_dir", tmp_path / "two", "--per_device_train_batch_size", "2")
    assert done.returncode == 0, done.stderr
    assert np.allclose(curve(tmp_path / "one"), curve(tmp_path / "two"), atol=1e-4)
    assert len(curve(tmp_path / "one")) == 14  # more than one epoch of 12 steps


def test_sharded_by_fsdp2_it_saves_a_whole_model(write_recipe, source, tmp_path):
    import torch
    from mullama import MuLlamaForConditionalGeneration

    recipe = write_recipe(
        datasets=[source], trainable=LANGUAGE, max_steps=6, save_strategy="steps", save_steps=3, max_grad_norm=0.0
    )
    how = ("-m", "mullama.training.sft", "--config", recipe)
    assert run(sys.executable, *how, "--output_dir", tmp_path / "one").returncode == 0
    sharding = environment(
        ACCELERATE_USE_FSDP="true",
        FSDP_VERSION="2",
        FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP",
        FSDP_TRANSFORMER_CLS_TO_WRAP="MuLlamaDecoderLayer",
        FSDP_STATE_DICT_TYPE="FULL_STATE_DICT",
        FSDP_RESHARD_AFTER_FORWARD="true",
    )
    batch = ("--per_device_train_batch_size", "2")
    done = run(*torchrun(), *how, "--output_dir", tmp_path / "two", *batch, env=sharding)
    assert done.returncode == 0, done.stderr
    assert np.allclose(curve(tmp_path / "one"), curve(tmp_path / "two"), atol=1e-4)
    one, two = (
        MuLlamaForConditionalGeneration.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two")
    )
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


def test_a_full_disk_leaves_the_last_good_checkpoint(write_recipe, source, tmp_path):
    recipe = write_recipe(
        datasets=[source], trainable=ADAPTER, max_steps=8, save_strategy="steps", save_steps=2, save_total_limit=1
    )
    out = tmp_path / "out"
    assert run(PROGRAM, "train", recipe, "--max_steps", "2").returncode == 0
    (out / "model.safetensors").unlink()
    largest = max(path.stat().st_size for path in (out / "checkpoint-2").iterdir())

    def little_room() -> None:  # as a disk with no room for the weights
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2))

    failed = run(PROGRAM, "train", recipe, preexec_fn=little_room)
    assert failed.returncode == 1 and "step 4: " in failed.stderr and "cannot be written" in failed.stderr
    assert f"The last good checkpoint is {out}/checkpoint-2" in failed.stderr.splitlines()[-1]
    assert last_checkpoint(out) == str(out / "checkpoint-2") and not (out / "checkpoint-4").exists()
    assert run(PROGRAM, "train", recipe).returncode == 0
    assert last_checkpoint(out).endswith("checkpoint-8")


def test_too_little_memory_says_what_to_lower(write_recipe, source):
    recipe = write_recipe(datasets=[source], trainable=ADAPTER, per_device_train_batch_size=48, max_steps=2)
    script = (
        "import resource, sys\n"
        "from mullama.training import trainer\n"
        "from mullama.cli import main\n"
        "step = trainer.SFTTrainer.training_step\n"
        "def without_room(self, *args):\n"
        "    used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))\n"
        "    return step(self, *args)\n"
        "trainer.SFTTrainer.training_step = without_room\n"
        f"sys.exit(main(['train', {str(recipe)!r}]))\n"
    )
    failed = run(sys.executable, "-c", script)
    line = failed.stderr.splitlines()[-1]
    assert failed.returncode == 1 and "step 1: out of memory: lower `per_device_train_batch_size` (now 48)" in line
    assert "gradient_checkpointing" in line


def test_a_finished_model_is_pushed(write_recipe, source, tmp_path):
    from mullama.tests.hub.loopback_hub import Hub

    hub = Hub()
    try:
        recipe = write_recipe(
            datasets=[source],
            trainable=ADAPTER,
            max_steps=2,
            save_strategy="steps",
            push_to_hub=True,
            hub_model_id="alice/trained",
        )
        home = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": hub.url}
        at_once = run(PROGRAM, "train", recipe, env=environment(**home, HF_TOKEN=""))
        assert at_once.returncode == 1 and "There is no token" in at_once.stderr and "step 1" not in at_once.stderr
        done = run(PROGRAM, "train", recipe, env=environment(**home, HF_TOKEN="hf_alice", HF_HUB_OFFLINE="0"))
        assert done.returncode == 0 and done.stdout == f"{hub.url}/alice/trained\n", done.stderr
        files = hub.files("alice/trained")
        assert {"model.safetensors", "modeling_mullama.py", "README.md", "loss.png", "chat_template.jinja"} <= set(
            files
        )
        assert not [name for name in files if name.startswith("checkpoint-") or name.endswith(".bin")]
        assert b"max_steps: 2" in files["README.md"] and b"![loss](loss.png)" in files["README.md"]
    finally:
        hub.close()
