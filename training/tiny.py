"""The embedded model from nothing: scores, clips, encoder; tokenizer, language; then adapter and answers.

    python -m mullama.training.tiny

Each step is left out where its output is there, so that a run that was stopped goes on. Recipes: training/configs.
Run it in the folder that holds `training/`; it writes `data/tiny` and `runs/tiny`. Not in this file: the evaluation.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import yaml
from datasets import Dataset
from mullama.dataset_scripts.synthetic.questions import sample_conversation
from mullama.dataset_scripts.synthetic.render import load_clips, render_set
from mullama.dataset_scripts.synthetic.scores import write_scores
from mullama.modeling_mullama import MertConfig, MertModel, MuLlamaConfig, MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaFeatureExtractor, MuLlamaProcessor
from safetensors.torch import load_file
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, set_seed

from .encoder import tiny_mert_config
from .features import write_layer_means
from .tiny_tokenizer import train_tokenizer

DATA, RUNS, CONFIGS = Path("data/tiny"), Path("runs/tiny"), Path("training/configs")
PARTS = Path("runs/show")  # what the recipes synthetic_* start from
TRAINING_SOUNDFONTS = ["fluid", "musescore", "csound"]
# Name -> clips, seed, pieces, soundfonts. The language side learns from clips that the encoder never met, lest it
# trust an encoder that knows its answers by heart; test B's soundfont sounds nowhere else.
CLIP_SETS = {
    "train": (16_000, 0, "train", TRAINING_SOUNDFONTS),
    "validation": (600, 1, "validation", TRAINING_SOUNDFONTS),
    "test_a": (1_000, 2, "test", TRAINING_SOUNDFONTS),
    "test_b": (1_000, 3, "test", ["timgm6mb"]),
    "language": (12_000, 4, "train", TRAINING_SOUNDFONTS),
}
CONVERSATIONS_PER_CLIP = 24
TURNS = (1, 1, 1, 1, 1, 1, 1, 2, 2, 3)  # questions of a conversation, drawn from these
TOKENIZER_TEXTS = 60_000
WINDOW_SECONDS = 5.0  # what the encoder was trained on
MAX_NEW_TOKENS = 112
PROCESSES = 2  # of stages that train alone; batches are theirs together, so that another number is another model
FIRST_GATE = 0.5  # from zero, the paper's, 400 steps opened the gates to .01 and nothing was heard


def write_questions(clips: Path, out: Path) -> None:
    """Conversations about every clip of a set, as rows of a Parquet file; `clip` is a row of the set."""
    _, truths = load_clips(clips)
    rows = {"clip": [], "messages": [], "length": []}
    for clip, truth in enumerate(truths):
        rng = random.Random(f"questions {truth.id}")
        for _ in range(CONVERSATIONS_PER_CLIP):
            messages = []
            for pair in sample_conversation(truth, rng, rng.choice(TURNS)):
                messages.append({"role": "user", "content": pair.question})
                messages.append({"role": "assistant", "content": pair.answer})
            rows["clip"].append(clip)
            rows["messages"].append(messages)
            rows["length"].append(sum(len(message["content"]) for message in messages))
    partial = out.with_suffix(".partial")
    Dataset.from_dict(rows).to_parquet(partial)
    partial.replace(out)


def start_model(questions: Path, out: Path, seed: int = 0) -> None:
    """A MU-LLaMA that knows nothing, with a tokenizer made for its questions."""
    set_seed(seed)
    rows = Dataset.from_parquet(str(questions)).shuffle(seed=seed).select(range(TOKENIZER_TEXTS))
    texts = (message["content"] for row in rows for message in row["messages"])
    tokenizer = train_tokenizer(texts, out)
    audio_config = encoder_config()
    config = MuLlamaConfig(
        audio_config=audio_config.to_dict(),
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 256,
            "intermediate_size": 688,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "num_adapter_layers": 3,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
    )
    model = MuLlamaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    kernels, strides = audio_config.conv_kernel, audio_config.conv_stride
    min_samples = kernels[0] + (kernels[1] - 1) * strides[0]
    # Not normalised: level is part of what it is asked about.
    extractor = MuLlamaFeatureExtractor(window_seconds=WINDOW_SECONDS, min_samples=min_samples, do_normalize=False)
    MuLlamaProcessor(extractor, tokenizer).save_pretrained(out)
    model.save_pretrained(out)


def encoder_config() -> MertConfig:
    """The shape that the encoder's recipe names."""
    recipe = yaml.safe_load((CONFIGS / "tiny_encoder.yaml").read_text())
    return tiny_mert_config(recipe["hidden_size"], recipe["num_hidden_layers"])


@torch.no_grad()
def give_ears(language: Path, encoder: Path, layer_means: Path, out: Path, seed: int = 0) -> None:
    """Put the trained encoder in the model, and start the projector from it.

    It mixes the layers as the encoder's own reader did, and its projection begins by standardising what it gets: the
    unit-norm vectors of different music differ little, and left as they are, the adapter would learn slowly.
    """
    set_seed(seed)
    model = MuLlamaForConditionalGeneration.from_pretrained(language)
    model.model.audio_tower.load_state_dict(MertModel.from_pretrained(encoder).state_dict())
    attributes, projector = load_file(encoder / "attributes.safetensors"), model.model.multi_modal_projector
    projector.layer_weights.weight.copy_(attributes["layer_weights.weight"])
    projector.layer_weights.bias.copy_(attributes["layer_weights.bias"])
    heard = torch.from_numpy(np.load(layer_means).astype(np.float32))
    unit = torch.nn.functional.normalize(projector.layer_weights(heard.transpose(1, 2)).squeeze(-1), dim=-1)
    mean, spread = unit.mean(0), unit.std(0) + 1e-5
    weight = torch.randn_like(projector.linear.weight) / projector.linear.in_features**0.5
    projector.linear.weight.copy_(weight / spread)
    projector.linear.bias.copy_(-weight @ (mean / spread))
    for layer in model.model.language_model.layers:
        if layer.is_adapted:
            layer.self_attn.audio_prefix.gate.fill_(FIRST_GATE)
    MuLlamaProcessor.from_pretrained(language).save_pretrained(out)
    model.save_pretrained(out)


def write_parts(language: Path, encoder: Path, out: Path) -> None:
    """The encoder and the language model that has seen text only, as folders of their own: `synthetic_*` join them."""
    model = MuLlamaForConditionalGeneration.from_pretrained(language)
    processor = MuLlamaProcessor.from_pretrained(language)
    config = model.config.text_config.to_dict()
    known = {name: value for name, value in config.items() if name in LlamaConfig().to_dict() and name != "model_type"}
    llama = LlamaForCausalLM(LlamaConfig(**known))
    weights = model.model.language_model.state_dict()
    llama.model.load_state_dict({name: weight for name, weight in weights.items() if "audio_prefix" not in name})
    llama.lm_head.load_state_dict(model.lm_head.state_dict())
    llama.generation_config = model.generation_config
    MertModel.from_pretrained(encoder).save_pretrained(out / "encoder")
    processor.feature_extractor.save_pretrained(out / "encoder")
    processor.tokenizer.save_pretrained(out / "language")
    llama.save_pretrained(out / "language")  # last: what says that this step is done


def hear_once(encoder: Path, extractor: Path, clips: Path, out: Path) -> None:
    """The layer means of a set of clips."""
    model = MertModel.from_pretrained(encoder)
    write_layer_means(model, MuLlamaFeatureExtractor.from_pretrained(extractor), load_clips(clips)[0], out)


def launch(module: str, recipe: str, processes: int = 1) -> None:
    """Run a recipe of training/configs in processes of one thread; raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes)]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--num_cpu_threads_per_process", "1", "-m", module, "--config", str(CONFIGS / f"{recipe}.yaml")]
    subprocess.run(command, check=True)


def train_encoder() -> None:
    """Run the encoder's recipe, and say that it came to its end: it saves its best step on the way."""
    launch("mullama.training.encoder", "tiny_encoder")
    (RUNS / "encoder" / "done").touch()


def step(output: Path, title: str, make) -> None:
    """Do what makes `output`, unless it is there, and say how long it took."""
    if output.exists():
        print(f"{title}: {output} is there", flush=True)
        return
    started = time.monotonic()
    output.parent.mkdir(parents=True, exist_ok=True)
    make()
    print(json.dumps({"step": title, "seconds": round(time.monotonic() - started)}), flush=True)


def main() -> None:
    """Command line: train the embedded model from nothing."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.parse_args()
    scores, language, means = DATA / "scores.jsonl", DATA / "language", DATA / "layer_means.npy"
    questions = DATA / "questions.parquet"
    step(scores, "scores", lambda: write_scores(scores))
    for name, (clips, seed, split, soundfonts) in CLIP_SETS.items():
        folder = DATA / name
        step(
            folder / "truth.jsonl",
            f"clips {name}",
            lambda folder=folder, clips=clips, seed=seed, split=split, soundfonts=soundfonts: render_set(
                scores, folder, clips, seed, soundfonts, split
            ),
        )
    step(questions, "questions", lambda: write_questions(language, questions))
    step(RUNS / "start" / "model.safetensors", "start", lambda: start_model(questions, RUNS / "start"))
    encoder, deaf = RUNS / "encoder", RUNS / "language" / "model.safetensors"
    with ThreadPoolExecutor() as pool:  # neither needs the other
        hearing = pool.submit(step, encoder / "done", "encoder", train_encoder)
        reading = pool.submit(step, deaf, "language", lambda: launch("mullama.training.sft", "tiny_language"))
        hearing.result()
        reading.result()
    step(means, "hear once", lambda: hear_once(encoder, RUNS / "start", language, means))
    parts = PARTS / "language" / "model.safetensors"
    step(parts, "parts", lambda: write_parts(RUNS / "language", encoder, PARTS))
    ears = RUNS / "ears"
    step(ears / "model.safetensors", "ears", lambda: give_ears(RUNS / "language", encoder, means, ears))
    for stage in ("adapter", "answers"):
        output = RUNS / stage / "model.safetensors"
        step(output, stage, lambda stage=stage: launch("mullama.training.sft", f"tiny_{stage}", PROCESSES))


if __name__ == "__main__":
    main()
