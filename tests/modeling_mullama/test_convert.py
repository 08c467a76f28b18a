"""The converter: exact on the fixture and on generated releases of other shapes, clear on what it cannot convert."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from mullama import cli
from mullama.modeling_mullama.convert_mullama import read_release
from mullama.tests.modeling_mullama.release_maker import TOKENIZER, Shape, make_release
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor
from transformers import AutoModelForMultimodalLM, AutoProcessor

CODE = {
    "audio_io.py",
    "configuration_mert.py",
    "configuration_mullama.py",
    "handler.py",
    "modeling_mert.py",
    "modeling_mullama.py",
    "processing_mullama.py",
}
PROMPT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Input:\n"
    "<built-in function input>\n\n### Response:"
)
SHAPES = {
    "two shards, grouped queries, 95M-like MERT": Shape(
        kv_heads=2, shards=2, ffn=104, mert_pre_norm=False, mert_format="safetensors", vocab=608, rank=3,
        params=(("ffn_dim_multiplier", 1.3), ("vocab_size", 608)),
    ),
    "four shards, first phase, spelt llma.": Shape(
        phase="pretrain", shards=4, prefix="llma.", adapted=4, weight_norm="new", tokenizer_inside=True, norm_eps=1e-6
    ),
    "everything in the checkpoint": Shape(is_full=True, dim=64, layers=5, adapted=3, mert_layers=2, mert_dim=32),
    "everything, spelt llma., two shards": Shape(is_full=True, prefix="llma.", shards=2, kv_heads=2, adapted=1),
    "Hugging Face LLaMA in two files": Shape(
        llama_layout="hf-safetensors", kv_heads=1, projector=50, blocks=2, rank=5
    ),
    "Hugging Face LLaMA, everything": Shape(llama_layout="hf-bin", is_full=True, heads=6, kv_heads=3, ffn=88),
    "tied Hugging Face LLaMA, first phase": Shape(
        llama_layout="hf-bin", phase="pretrain", tied=True, weight_norm="new", mert_format="safetensors"
    ),
    "pickles of before torch 1.6": Shape(zip_pickles=False, shards=2, mert_pre_norm=False),
}  # fmt: skip


@pytest.fixture(autouse=True)
def stdin(monkeypatch):
    """A stdin as a shell gives it, which pytest's is not."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))


def inputs_of(processor, question: str, wav: torch.Tensor) -> dict:
    content = [{"type": "audio", "audio": wav.numpy()}, {"type": "text", "text": question}]
    return processor.apply_chat_template([{"role": "user", "content": content}], tokenize=True, return_dict=True)


def convert_arguments(folder: Path, out: Path, *more: str) -> list[str]:
    release = ["--checkpoint", str(folder / "checkpoint.pth"), "--llama", str(folder / "LLaMA")]
    return ["convert", *release, "--mert", str(folder / "MERT"), "--out", str(out), *more]


@pytest.mark.parametrize("checkpoint", ["checkpoint.pth", "checkpoint_full.pth"])
@torch.no_grad()
def test_the_fixture_is_exact(checkpoint, release, tmp_path, capsys):
    files, out = release / "release", tmp_path / "model"
    given = {"--checkpoint": files / checkpoint, "--llama": files / "LLaMA", "--mert": files / "MERT", "--out": out}
    assert cli.main(["convert", *(str(part) for pair in given.items() for part in pair)]) == 0
    mapped = {"checkpoint.pth": "Mapped 273 of 290", "checkpoint_full.pth": "Mapped 273 of 416"}
    assert mapped[checkpoint] in capsys.readouterr().out

    model, processor = AutoModelForMultimodalLM.from_pretrained(out), AutoProcessor.from_pretrained(out)
    golden, text = load_file(release / "golden.safetensors"), json.loads((release / "golden.json").read_text())
    for i, question in enumerate(text["questions"]):
        inputs = inputs_of(processor, question, golden["wav"][i])
        assert inputs["input_ids"][0].tolist() == golden[f"ids{i}"].tolist()
        audio = model.get_audio_features(inputs["input_values"], inputs["input_values_mask"])
        if i == 0:
            torch.testing.assert_close(audio.layer_means[0], golden["mert_layers0"], atol=1e-5, rtol=0)
        torch.testing.assert_close(audio.pooler_output, golden[f"feats{i}"], atol=1e-5, rtol=0)
        torch.testing.assert_close(model(**inputs).logits[0, -1], golden[f"logits{i}"], atol=1e-4, rtol=0)

        # The golden tokens do not stop at EOS.
        model.generation_config.eos_token_id = None
        tokens = model.generate(**inputs, max_new_tokens=24, do_sample=False, temperature=None, top_p=None)
        assert tokens[0, inputs["input_ids"].shape[1] :].tolist() == golden[f"greedy{i}"].tolist()

        full = golden[f"full{i}"].long()[None]
        labels = full.masked_fill(full == 0, -100)
        labels[:, : len(golden[f"ids{i}"])] = -100
        loss = model(input_ids=full, labels=labels, audio_embeds=audio.pooler_output).loss
        torch.testing.assert_close(loss, golden[f"loss{i}"].reshape(()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@torch.no_grad()
def test_a_generated_release_is_exact(shape, tmp_path):
    reference = make_release(tmp_path, shape, seed=7)
    read = read_release(tmp_path / "checkpoint.pth", str(tmp_path / "LLaMA"), str(tmp_path / "MERT"))
    folder = read.write(tmp_path / "model")
    model, processor = AutoModelForMultimodalLM.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    wav = torch.randn(30_000, generator=torch.Generator().manual_seed(1)) * 0.1 + 0.02
    inputs = inputs_of(processor, "Which instruments play?", wav)
    ids = inputs["input_ids"][0].tolist()
    pieces = SentencePieceProcessor(str(TOKENIZER))
    assert ids == [pieces.bos_id(), *pieces.encode(PROMPT.format("Which instruments play?"))]

    audio = model.get_audio_features(inputs["input_values"], inputs["input_values_mask"])
    torch.testing.assert_close(audio.layer_means[0], reference.layer_means(wav), atol=1e-5, rtol=0)
    torch.testing.assert_close(audio.pooler_output[0], reference.audio_vector(wav), atol=1e-5, rtol=0)
    heard, unheard = model(**inputs).logits[0], model(input_ids=inputs["input_ids"]).logits[0]
    torch.testing.assert_close(heard, reference.logits(ids, wav), atol=1e-4, rtol=0)
    torch.testing.assert_close(unheard, reference.logits(ids, None), atol=1e-4, rtol=0)
    # The audio is no detail, so that nothing above holds by its absence.
    assert (heard - unheard).abs().max() > 0.1


@pytest.fixture(scope="module")
def small_release(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    make_release(folder, Shape(dim=32, layers=3, shards=2, ffn=64, projector=48, mert_layers=1))
    return folder


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_folder_of_half_precision_is_the_exact_one_rounded(dtype, small_release, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mullama.modeling_mullama.convert_mullama.MAX_SHARD_BYTES", 50_000)
    for name in ("float32", dtype):
        assert cli.main(convert_arguments(small_release, tmp_path / name, "--dtype", name)) == 0
    exact, rounded = (AutoModelForMultimodalLM.from_pretrained(tmp_path / name) for name in ("float32", dtype))
    assert rounded.dtype == getattr(torch, dtype)
    for name, tensor in exact.state_dict().items():
        assert torch.equal(tensor.to(rounded.dtype), rounded.state_dict()[name]), name
    weights = json.loads((tmp_path / dtype / "model.safetensors.index.json").read_text())["weight_map"]
    files = {path.name for path in (tmp_path / dtype).glob("*.safetensors")}
    assert len(files) > 2 and files == set(weights.values()) and weights.keys() == exact.state_dict().keys()


def test_a_folder_is_whole(small_release, tmp_path):
    assert cli.main(convert_arguments(small_release, tmp_path / "model")) == 0
    folder = tmp_path / "model"
    assert {path.name for path in folder.glob("*.py")} == CODE
    assert set(json.loads((folder / "config.json").read_text())["auto_map"]) == {
        "AutoConfig", "AutoModel", "AutoModelForMultimodalLM", "AutoProcessor"
    }  # fmt: skip
    sampling = json.loads((folder / "generation_config.json").read_text())
    expected = {"do_sample": True, "temperature": 0.6, "top_p": 0.8, "max_new_tokens": 512}
    assert expected.items() <= sampling.items() and sampling["eos_token_id"] == 2
    assert "license: other" in (folder / "README.md").read_text()
    assert (folder / "chat_template.jinja").is_file() and (folder / "tokenizer.json").is_file()


def test_a_llama_may_be_named_by_its_inner_folder(small_release):
    checkpoint, mert = small_release / "checkpoint.pth", str(small_release / "MERT")
    inner, outer = (read_release(checkpoint, str(small_release / name), mert) for name in ("LLaMA/7B", "LLaMA"))
    assert inner.config.to_dict() == outer.config.to_dict() and inner.report == outer.report


def test_ranks_may_differ_between_layers(small_release, tmp_path):
    shutil.copytree(small_release, tmp_path / "release")
    path = tmp_path / "release" / "checkpoint.pth"
    checkpoint = torch.load(path, weights_only=True)
    model, name = checkpoint["model"], "llama.layers.1.attention.lora_wv_"
    model[f"{name}l1.weight"], model[f"{name}l2.weight"] = torch.ones(2, 32), torch.ones(32, 2)
    torch.save(checkpoint, path)
    read = read_release(path, str(tmp_path / "release/LLaMA"), str(tmp_path / "release/MERT"))
    assert read.config.text_config.value_correction_rank == 4
    corrections = [
        read.recipes[f"model.language_model.layers.1.self_attn.audio_prefix.value_correction_{part}"]()
        for part in ("b", "a")
    ]
    torch.testing.assert_close(corrections[0] @ corrections[1], torch.full((32, 32), 2.0))


# --- What cannot be converted


class Evil:
    """What it would run, were it unpickled with trust, leaves a file behind."""

    def __reduce__(self):
        return open, ("EVIL", "w")


def edit(folder: Path, change) -> None:
    path = folder / "checkpoint.pth"
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint["model"])
    torch.save(checkpoint, path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def set_param(folder: Path, name: str, value) -> None:
    path = folder / "LLaMA/7B/params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))


def mert_as_safetensors(folder: Path) -> None:
    path = folder / "MERT/pytorch_model.bin"
    save_file(torch.load(path, weights_only=True), folder / "MERT/model.safetensors")
    cut(folder / "MERT/model.safetensors")


def pop(name: str):
    return lambda folder: edit(folder, lambda model: model.pop(name))


def put(name: str, *shape: int):
    return lambda folder: edit(folder, lambda model: model.update({name: torch.zeros(shape)}))


def write_text(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


def another_llama(folder: Path) -> None:
    shutil.rmtree(folder / "LLaMA")
    make_release(folder / "wide", Shape(dim=48, layers=3, ffn=64, mert_layers=1))
    shutil.move(folder / "wide/LLaMA", folder / "LLaMA")


def another_mert(folder: Path) -> None:
    shutil.rmtree(folder / "MERT")
    make_release(folder / "deep", Shape(dim=32, layers=3, mert_layers=2))
    shutil.move(folder / "deep/MERT", folder / "MERT")


LORA = "llama.layers.2.attention.lora_wk_l2.weight"
INDEX = json.dumps({"weight_map": {"encoder.layer_norm.weight": "../../secret.safetensors"}})
REFUSED = {
    "of ImageBind-LLM": (put("prefix_query.weight", 32, 32), "of another model: its prefix_query has 32 rows"),
    "another LLaMA": (another_llama, "LLaMA of width 48 with 3 layers, but .*width 32 with 3"),
    "another MERT": (another_mert, "MERT of width 24 with 2 layers, but .*width 24 with 1"),
    "a cut checkpoint": (lambda f: cut(f / "checkpoint.pth"), "checkpoint.pth is cut short or damaged"),
    "a cut shard": (lambda f: cut(f / "LLaMA/7B/consolidated.01.pth"), "consolidated.01.pth is cut short or damaged"),
    "a cut MERT": (lambda f: cut(f / "MERT/pytorch_model.bin"), "pytorch_model.bin is cut short or damaged"),
    "a cut safetensors": (mert_as_safetensors, "model.safetensors is cut short or damaged"),
    "a text file": (write_text("checkpoint.pth", "version https://git-lfs"), "checkpoint.pth is not a PyTorch check"),
    "an empty file": (write_text("checkpoint.pth", ""), "checkpoint.pth is not a PyTorch checkpoint"),
    "no file": (lambda f: (f / "checkpoint.pth").unlink(), "checkpoint.pth does not exist"),
    "code": (lambda f: torch.save({"model": Evil()}, f / "checkpoint.pth"), "refused: it wants to run `.*open`"),
    "a class": (
        lambda f: torch.save({"model": {}, "args": Fraction(1, 2)}, f / "checkpoint.pth"),
        "refused: it wants to run `fractions.Fraction`",
    ),
    "a list": (lambda f: torch.save([1], f / "checkpoint.pth"), "holds a list, not a dict"),
    "numbers": (lambda f: torch.save({"model": {"a": 1}}, f / "checkpoint.pth"), "'a' is a int, not a tensor"),
    "no prefix": (pop("prefix_query.weight"), "'prefix_query.weight' is missing: is it MU-LLaMA's"),
    "a flat prefix": (put("prefix_query.weight", 32), r"has shape \(32,\), not 2 dimensions"),
    "no gate": (pop("llama.layers.2.attention.gate"), "'llama.layers.2.attention.gate' is missing"),
    "half a LoRA": (pop(LORA), f"'{LORA}' is missing, but other tensors of its kind"),
    "a bias less": (pop("llama.layers.0.feed_forward.w2.bias"), "w2.bias' is missing, but other"),
    "a norm less": (pop("llama.norm.weight"), "'llama.norm.weight' is missing, but other"),
    "a block less": (pop("mu_mert_f2_2.weight"), "'mu_mert_f2_2.weight' is missing"),
    "an unknown tensor": (put("image_proj.weight", 3), r"'image_proj.weight' is unexpected"),
    "a key bias": (put("llama.layers.1.attention.wk.bias", 32), "'llama.layers.1.attention.wk.bias' is unexpected"),
    "two spellings": (put("llma.norm.weight", 32), "'llama.norm.weight' is there twice"),
    "a wrong shape": (put("llama.layers.1.attention.wq.bias", 33), r"has shape \(33,\), but \(32,\) is expected"),
    "a wrong rank": (put(LORA, 32, 7), r"has shape \(32, 7\), but \(32, 4\) is expected"),
    "a shard less": (lambda f: (f / "LLaMA/7B/consolidated.00.pth").unlink(), "consolidated.00.pth is missing"),
    "the last shard less": (
        lambda f: (f / "LLaMA/7B/consolidated.01.pth").unlink(),
        "n_kv_heads 4 does not fit .* a shard missing",
    ),
    "heads that do not fit": (lambda f: set_param(f, "n_kv_heads", 3), "n_kv_heads 3 does not fit"),
    "no eps": (lambda f: set_param(f, "norm_eps", None), "norm_eps is None"),
    "a later LLaMA": (lambda f: set_param(f, "use_scaled_rope", True), "LLaMA 3.1"),
    "bad JSON": (write_text("LLaMA/7B/params.json", "{"), "params.json is not valid JSON"),
    "no tokenizer": (lambda f: (f / "LLaMA/tokenizer.model").unlink(), "tokenizer.model is missing"),
    "a bad tokenizer": (write_text("LLaMA/tokenizer.model", "no"), "tokenizer.model is not a SentencePiece model"),
    "two LLaMAs": (lambda f: shutil.copytree(f / "LLaMA/7B", f / "LLaMA/13B"), "holds several LLaMAs"),
    "no LLaMA": (lambda f: shutil.rmtree(f / "LLaMA/7B"), "neither a config.json nor a params.json"),
    "no such folder": (lambda f: shutil.rmtree(f / "LLaMA"), "LLaMA does not exist"),
    "no MERT": (write_text("MERT/config.json", '{"model_type": "bert"}'), "'bert' model, not of a MERT"),
    "a deep-norm MERT": (
        lambda f: write_text("MERT/config.json", json.dumps({"model_type": "mert_model", "deepnorm": True}))(f),
        "deepnorm",
    ),
    "an index that points outside": (
        lambda f: (
            (f / "MERT/pytorch_model.bin").rename(f / "MERT/elsewhere")
            and write_text("MERT/model.safetensors.index.json", INDEX)(f)
        ),
        "does not list files of its folder",
    ),
    "no weights": (lambda f: (f / "MERT/pytorch_model.bin").unlink(), "neither model.safetensors nor pytorch_model"),
}


@pytest.mark.parametrize(("spoil", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_refused_in_one_line(spoil, message, small_release, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_release, "release")
    spoil(tmp_path / "release")
    (tmp_path / "out").mkdir()
    capsys.readouterr()
    assert cli.main(convert_arguments(tmp_path / "release", tmp_path / "out" / "model")) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1, printed.err
    assert re.search(message, printed.err), printed.err
    assert not any((tmp_path / "out").iterdir()) and not Path("EVIL").exists()


# --- Memory

MEMORY_PROGRAM = """
import resource, sys
from mullama.modeling_mullama import convert_mullama
convert_mullama.MAX_SHARD_BYTES = convert_mullama.MAX_MAPPED_BYTES = 10_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
convert_mullama.read_release("checkpoint.pth", "LLaMA", "MERT").write("model")
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def test_memory_holds_a_shard_and_not_the_model(tmp_path):
    make_release(tmp_path, Shape(dim=768, layers=4, ffn=2048, is_full=True))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    written = sum(path.stat().st_size for path in (tmp_path / "model").glob("*.safetensors"))
    assert written > 100_000_000
    # The largest matrix takes 6 MB, with its LoRA being merged some times that.
    assert int(done.stdout) < 0.6 * written, (int(done.stdout), written)
