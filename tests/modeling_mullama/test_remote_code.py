"""A saved folder loads, with the code that it carries, where this package cannot be imported."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
import transformers
from mullama.modeling_mullama import configuration_mert

PROGRAM = """
import sys, torch
sys.modules["mullama"] = None
from transformers import AutoConfig, AutoModel, AutoModelForMultimodalLM
folder = sys.argv[1]
audio, ids = torch.load(f"{folder}/inputs.pt", weights_only=True)
model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules."), type(model).__module__
assert AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type == "mullama"
assert type(AutoModel.from_pretrained(folder, trust_remote_code=True)).__name__ == "MuLlamaModel"
assert not model.train().model.audio_tower.training
model.eval()
answer = model.generate(ids, input_values=audio, max_new_tokens=6, do_sample=False)
model.save_pretrained(f"{folder}/again")
torch.save((model(ids, input_values=audio).logits.detach(), answer), f"{folder}/outputs.pt")
"""


def test_a_saved_folder_needs_no_installation(model, ids, audio, tmp_path):
    model.save_pretrained(tmp_path)
    travelling = {"configuration_mert.py", "configuration_mullama.py", "modeling_mert.py", "modeling_mullama.py"}
    assert travelling == {path.name for path in tmp_path.glob("*.py")}
    torch.save((audio, ids), tmp_path / "inputs.pt")
    environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    logits, answer = torch.load(tmp_path / "outputs.pt", weights_only=True)
    assert torch.allclose(logits, model(ids, input_values=audio).logits, atol=1e-4)
    assert torch.equal(answer, model.generate(ids, input_values=audio, max_new_tokens=6, do_sample=False))
    assert travelling <= {path.name for path in (tmp_path / "again").glob("*.py")}


@pytest.mark.parametrize("version", ["4.57.6", "5.3.0", "5.4.0", "6.0.0"])
def test_an_unfit_version_of_transformers_is_refused_in_one_line(version, monkeypatch):
    monkeypatch.setattr(transformers, "__version__", version)
    spec = importlib.util.spec_from_file_location("configuration_mert_again", configuration_mert.__file__)
    module = importlib.util.module_from_spec(spec)
    if version == "5.4.0":
        spec.loader.exec_module(module)
        return
    with pytest.raises(ImportError, match=f"needs transformers>=5.4.0,<6, but {version} is installed") as error:
        spec.loader.exec_module(module)
    assert "\n" not in str(error.value)
