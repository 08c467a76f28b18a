"""What was pushed loads where this package cannot be imported: the model with its own code, the dataset streaming."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mullama.model_card.cards import make_mert_card
from mullama.modeling_mullama.convert_mullama import export_mert
from mullama.tests.hub.conftest import NOT_INSTALLED
from transformers import AutoModelForMultimodalLM, AutoProcessor

QUESTION = "Which instruments play?"
SOUND = "torch.randn(30_000, generator=torch.Generator().manual_seed(0)).numpy()"
MODEL_PROGRAM = f"""
import torch
from transformers import AutoConfig, AutoModel, AutoModelForMultimodalLM, AutoProcessor, pipeline

def load(name, **kwargs):
    model = AutoModelForMultimodalLM.from_pretrained(name, trust_remote_code=True, **kwargs)
    return model, AutoProcessor.from_pretrained(name, trust_remote_code=True)

def logits(model, processor):
    with torch.no_grad():
        inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True).to(model.device)
        return model(**inputs).logits[0, -1].float()

content = [{{"type": "audio", "audio": {SOUND}}}, {{"type": "text", "text": "{QUESTION}"}}]
messages = [{{"role": "user", "content": content}}]
model, processor = load("alice/model")
assert type(model).__module__.startswith("transformers_modules.alice.model."), type(model).__module__
first = logits(model, processor)
torch.save(first, "logits.pt")

model.save_pretrained("again")
processor.save_pretrained("again")
again = load("again")
assert torch.equal(logits(*again), first)
again[0].save_pretrained("thrice")
again[1].save_pretrained("thrice")
assert torch.equal(logits(*load("thrice")), first)

assert type(AutoModel.from_pretrained("alice/model", trust_remote_code=True)).__name__ == "MuLlamaModel"
assert AutoConfig.from_pretrained("alice/model", trust_remote_code=True).model_type == "mullama"
assert torch.equal(logits(*load("alice/model", device_map="auto")), first)
half = load("alice/model", dtype="bfloat16")
assert half[0].dtype == torch.bfloat16 and (logits(*half) - first).abs().max() < 0.1 * first.abs().max()
assert (load("alice/model", revision="v1")[0].lm_head.weight == model.lm_head.weight).all()

greedy = {{"do_sample": False, "max_new_tokens": 4}}
ask = pipeline("any-to-any", model="alice/model", trust_remote_code=True, device_map="auto", dtype="bfloat16")
answer = ask(text=messages, generate_kwargs=greedy, return_full_text=False)[0]["generated_text"]
assert isinstance(answer, str) and answer, answer
ask = pipeline("any-to-any", model="alice/model", trust_remote_code=True)
answer = ask(text=messages, generate_kwargs=greedy, return_full_text=False)[0]["generated_text"]
inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True)
tokens = model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, inputs["input_ids"].shape[1]:]
assert answer == processor.decode(tokens, skip_special_tokens=True), answer
"""
MERT_PROGRAM = f"""
import torch
from transformers import AutoFeatureExtractor, AutoModel
extractor = AutoFeatureExtractor.from_pretrained("alice/mert")
model = AutoModel.from_pretrained("alice/mert", trust_remote_code=True)
assert type(model).__name__ == "MertModel", type(model)
values = extractor({SOUND}, sampling_rate=24000, return_tensors="pt").input_values
with torch.no_grad():
    torch.save((values, model(values).layer_means), "mert.pt")
"""
DATASET_PROGRAM = """
from datasets import load_dataset
rows = load_dataset("alice/set", split="test", streaming=True)
row = next(iter(rows))
assert row["audio"]["bytes"] == b"fLaC0", row
assert row["qa"][0]["answer"] == "A piano."
assert sum(1 for _ in rows) == 40
"""


def test_a_pushed_model_answers_where_nothing_is_installed(hub, push, process, model_folder, tmp_path):
    assert push("model", model_folder, "alice/model").returncode == 0
    done = process(sys.executable, "-c", NOT_INSTALLED + MODEL_PROGRAM)
    assert done.returncode == 0, done.stderr[-3000:]

    model, processor = (
        AutoModelForMultimodalLM.from_pretrained(model_folder),
        AutoProcessor.from_pretrained(model_folder),
    )
    sound = torch.randn(30_000, generator=torch.Generator().manual_seed(0)).numpy()
    content = [{"type": "audio", "audio": sound}, {"type": "text", "text": QUESTION}]
    inputs = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=True, return_dict=True)
    with torch.no_grad():
        expected = model(**inputs).logits[0, -1]
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, atol=1e-5, rtol=0)
    for name in ("again", "thrice"):
        auto_map = json.loads((tmp_path / name / "config.json").read_text())["auto_map"]
        assert auto_map == {
            "AutoConfig": "configuration_mullama.MuLlamaConfig",
            "AutoModel": "modeling_mullama.MuLlamaModel",
            "AutoModelForMultimodalLM": "modeling_mullama.MuLlamaForConditionalGeneration",
            "AutoProcessor": "processing_mullama.MuLlamaProcessor",
        }
        # `save_pretrained` knows what loads a model; the card and the endpoint's files come with our export alone.
        files = {path.name for path in model_folder.iterdir()} - {"README.md", "handler.py", "requirements.txt"}
        assert files <= {path.name for path in (tmp_path / name).iterdir()}


def test_a_pushed_mert_works_where_nothing_is_installed(hub, push, process, model_folder, tmp_path):
    from mullama.tests.modeling_mullama.release_maker import Reference, Shape, make_weights

    shape = Shape(dim=32, layers=3, ffn=64, projector=48, mert_layers=1)
    export_mert(str(model_folder.parent / "MERT"), tmp_path / "mert", "float32", make_mert_card)
    assert push("model", tmp_path / "mert", "alice/mert").returncode == 0
    done = process(sys.executable, "-c", NOT_INSTALLED + MERT_PROGRAM)
    assert done.returncode == 0, done.stderr[-3000:]
    values, layer_means = torch.load(tmp_path / "mert.pt")
    reference = Reference(shape, *make_weights(shape, 0))
    torch.testing.assert_close(layer_means[0], reference.layer_means(values[0]), atol=1e-5, rtol=0)


def test_a_pushed_dataset_streams(hub, push, process, tmp_path):
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    qa = [{"question": "What plays?", "answer": "A piano.", "kind": "open"}]
    rows = [{"id": str(i), "audio": {"bytes": b"fLaC%d" % i, "path": f"{i}.flac"}, "qa": qa} for i in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "data/test-00000.parquet", row_group_size=10)
    configs = "configs:\n- config_name: default\n  data_files:\n  - split: test\n    path: data/test-*.parquet\n"
    (folder / "README.md").write_text(f"---\nlicense: mit\n{configs}---\n# THIS_FOLDER_OR_REPO\n")
    done = push("dataset", folder, "alice/set")
    assert done.returncode == 0 and done.stdout == f"{hub.url}/datasets/alice/set\n", done
    assert hub.files("alice/set", "dataset")["README.md"].endswith(b"# alice/set\n")
    done = process(sys.executable, "-c", NOT_INSTALLED + DATASET_PROGRAM)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="4-bit weights need a CUDA device")
def test_four_bits_answer(model_folder):
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
    model = AutoModelForMultimodalLM.from_pretrained(model_folder, quantization_config=quantization, device_map="cuda")
    processor = AutoProcessor.from_pretrained(model_folder)
    sound = torch.randn(30_000, generator=torch.Generator().manual_seed(0)).numpy()
    content = [{"type": "audio", "audio": sound}, {"type": "text", "text": QUESTION}]
    inputs = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=True, return_dict=True)
    tokens = model.generate(**inputs.to("cuda"), max_new_tokens=4, do_sample=False)
    assert tokens.shape[1] > inputs["input_ids"].shape[1]
