"""FSDP2 over two processes: forward, backward and generation on sharded weights equal one process on whole ones."""

import os
import subprocess
import sys
from pathlib import Path

import torch

PROGRAM = """
import sys, torch
from torch.distributed import init_process_group, destroy_process_group, get_rank
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.device_mesh import init_device_mesh
sys.path.insert(0, sys.argv[1])
from conftest import small_model

init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
audio, ids = torch.load(sys.argv[2], weights_only=True)
model = small_model()
for layer in [*model.model.language_model.layers, *model.model.audio_tower.encoder.layers]:
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
register_fsdp_forward_method(model, "generate")
model.train()
# Unlike numbers of windows in the two processes, which have to gather the same weights all the same.
rank = get_rank()
values = audio[rank : rank + 1, None].expand(-1, rank + 1, -1)
loss = model(ids[rank : rank + 1], input_values=values, labels=ids[rank : rank + 1]).loss
loss.backward()
gate = model.model.language_model.layers[-1].self_attn.audio_prefix.gate.grad.full_tensor()
linear = model.model.multi_modal_projector.linear.weight.grad.full_tensor()
model.eval()
answer = model.generate(
    ids[rank : rank + 1], input_values=audio[rank : rank + 1], max_new_tokens=4, do_sample=False, synced_gpus=True
)
torch.save((loss.detach(), gate, linear, answer), f"{sys.argv[2]}.{rank}")
destroy_process_group()
"""


def test_fsdp2(model, ids, audio, tmp_path):
    program, inputs = tmp_path / "program.py", tmp_path / "inputs.pt"
    program.write_text(PROGRAM)
    torch.save((audio, ids), inputs)
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(program)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    folder = Path(__file__).parent
    done = subprocess.run(
        [*run, str(folder), str(inputs)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]

    model.train()
    losses = [model(ids[i : i + 1], input_values=audio[i : i + 1], labels=ids[i : i + 1]).loss for i in range(2)]
    torch.stack(losses).mean().backward()
    expected = model.eval().generate(ids[:2], input_values=audio[:2], max_new_tokens=4, do_sample=False)
    for rank in range(2):
        loss, gate, linear, answer = torch.load(f"{inputs}.{rank}", weights_only=True)
        assert torch.allclose(loss, losses[rank], atol=1e-5)
        assert torch.allclose(gate, model.model.language_model.layers[-1].self_attn.audio_prefix.gate.grad, atol=1e-5)
        assert torch.allclose(linear, model.model.multi_modal_projector.linear.weight.grad, atol=1e-5)
        assert torch.equal(answer, expected[rank : rank + 1])
