"""The metric module on the Hub: pushed as a Space, loaded by people without this package."""

import sys
from pathlib import Path

import mullama
import pytest

MODULE = Path(mullama.__file__).parent / "evaluation" / "metrics" / "musicqa"
PUSH = """
import sys
from huggingface_hub import create_repo, upload_folder
create_repo("alice/musicqa", repo_type="space", space_sdk="gradio")
upload_folder(repo_id="alice/musicqa", folder_path=sys.argv[1], repo_type="space", ignore_patterns="__pycache__/*")
"""
LOAD = """
import evaluate
metric = evaluate.load("alice/musicqa", "legacy")
print(metric.compute(predictions=["abcde"], references=["abcdf"])["character_bleu"])
"""


@pytest.mark.slow
def test_pushed_and_loaded(process):
    pytest.importorskip("evaluate")
    pushed = process(sys.executable, "-P", "-c", "import sys; sys.modules['mullama'] = None\n" + PUSH, MODULE)
    assert pushed.returncode == 0, pushed.stderr
    loaded = process(sys.executable, "-P", "-c", "import sys; sys.modules['mullama'] = None\n" + LOAD)
    assert loaded.returncode == 0, loaded.stderr
    assert float(loaded.stdout) == pytest.approx(0.2**0.25, abs=1e-9)
