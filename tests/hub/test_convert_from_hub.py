"""Hub ids given to `mullama convert`, and what is fetched for them."""

import json
import sys

import pytest
from huggingface_hub import ModelCard
from mullama.tests.hub.loopback_hub import Repo
from mullama.tests.modeling_mullama.release_maker import Shape, make_release

# Three command lines in one process: importing transformers takes longer than they do.
PROGRAM = """
import json, sys
from mullama import cli
codes = [cli.main(["convert", "--checkpoint", "checkpoint.pth", "--mert", "alice/mert", *given]) for given in [
    ["--llama", "alice/llama", "--out", "model"],
    ["--llama", "alice/no-llama", "--out", "none"],
    ["--llama", "./elsewhere", "--out", "none"],
]]
print(json.dumps(codes))
"""


@pytest.fixture
def repos(hub, tmp_path):
    make_release(tmp_path, Shape(dim=32, layers=2, ffn=64, mert_layers=1, llama_layout="hf-safetensors"))
    for name in ("llama", "mert"):
        folder = tmp_path / {"llama": "LLaMA", "mert": "MERT"}[name]
        repo = hub.repos["model", f"alice/{name}"] = Repo()
        repo.commit({path.name: path.read_bytes() for path in folder.iterdir()} | {"flax_model.msgpack": b"no"})
    # As many repositories have it: the same weights in two forms.
    hub.files("alice/llama")["pytorch_model.bin"] = b"the same weights, in another form"


def test_a_llama_and_a_mert_come_from_the_hub(hub, repos, process, tmp_path):
    done = process(sys.executable, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 1, 1]
    fetched = {
        request.rsplit("/", 1)[1] for request in hub.requests if request.startswith("GET") and "/resolve/" in request
    }
    assert {"model-00001-of-00002.safetensors", "pytorch_model.bin", "tokenizer.model"} <= fetched
    assert not any("alice/llama" in request and "pytorch_model.bin" in request for request in hub.requests)
    assert not any("msgpack" in request for request in hub.requests if "/resolve/" in request)
    card = ModelCard((tmp_path / "model/README.md").read_text())
    assert card.data.base_model == ["alice/llama", "alice/mert"]

    missing, nowhere = done.stderr.splitlines()[-2:]
    assert missing.startswith("mullama: alice/no-llama is no folder here, and the Hub does not give it (")
    assert nowhere == "mullama: ./elsewhere does not exist: LLaMA is a folder or a repository of the Hub."
    assert not (tmp_path / "none").exists()
