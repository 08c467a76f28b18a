"""The Space's folder: complete, pinned, independent of this package, and what `mullama push space` sends."""

import ast
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard
from mullama.model_info import EMBEDDED_MODEL
from mullama.tests.hub.conftest import hub, process, push  # noqa: F401
from mullama.tests.spaces_app.conftest import serving

REPOSITORY = Path(__file__).parents[2]
SPACE = REPOSITORY / "spaces_app"
MULLAMA = Path(sys.executable).with_name("mullama")


def test_its_card_says_how_it_runs():
    text = (SPACE / "README.md").read_text(encoding="utf-8")
    card = yaml.safe_load(text.split("---")[1])
    requirements = (SPACE / "requirements.txt").read_text()
    assert card["sdk"] == "gradio" and f"gradio[mcp]=={card['sdk_version']}\n" in requirements
    assert (SPACE / card["app_file"]).is_file()
    assert card["license"] == "apache-2.0" and card["pinned"] is False
    assert len(card["short_description"]) <= 60


def test_its_requirements_are_pinned_to_what_was_tested():
    tested = dict(re.findall(r"^([\w-]+)==([^\s;]+)", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    for line in (SPACE / "requirements.txt").read_text().splitlines():
        name, version = re.fullmatch(r"([\w-]+)(?:\[\w+\])?==([\w.]+)(?: ; .*)?", line).groups()
        if name != "bitsandbytes":  # it needs a GPU, which no test has
            assert tested[name.lower().replace("_", "-")] == version, name


def test_it_imports_nothing_that_it_does_not_bring_or_require():
    required = {re.match(r"[\w-]+", line)[0].lower() for line in (SPACE / "requirements.txt").open()}
    required |= {"pil", "spaces", *(path.stem for path in SPACE.glob("*.py"))}
    for path in SPACE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in (name.split(".")[0].lower() for name in names):
                assert name in required or name in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_it_is_pushed_with_the_embedded_model(hub, push):  # noqa: F811
    done = push("space", "alice/space")
    assert done.returncode == 0, done.stderr
    files, repo = hub.files("alice/space", "space"), hub.repos["space", "alice/space"]
    model = REPOSITORY / "checkpoints" / "mullama-tiny"
    assert repo.sdk == "gradio" and repo.variables == {}
    for name in ("app.py", "listening.py", "look.py", "page.css", "player.js", "requirements.txt"):
        assert files[name] == (SPACE / name).read_bytes()
    assert {f"examples/{path.name}" for path in (SPACE / "examples").iterdir()} <= files.keys()
    assert files["model/model.safetensors"] == (model / "model.safetensors").read_bytes()
    assert {f"model/{path.name}" for path in model.iterdir() if path.is_file()} <= files.keys()
    assert not [name for name in files if "pycache" in name or name.endswith(".pyc")]


ALONE = """import sys, runpy
sys.modules["mullama"] = None
sys.path.insert(0, ".")
runpy.run_path("app.py", {}, "__main__")"""


def run_what_was_pushed(hub, folder: Path, **environment: str):  # noqa: F811
    """The Space's repository, downloaded and run by a process that cannot import this package."""
    for name, content in hub.files("alice/space", "space").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return serving([sys.executable, "-c", ALONE], folder, **environment)


@pytest.mark.slow
@pytest.mark.parametrize("model", [None, "alice/tiny"])
def test_what_was_pushed_answers_where_the_package_is_not(hub, push, expected, tmp_path, model):  # noqa: F811
    environment = {}
    if model is None:
        assert push("space", "alice/space").returncode == 0
    else:
        assert push("model", EMBEDDED_MODEL, model).returncode == 0
        assert push("space", "alice/space", "--model", model).returncode == 0
        environment = hub.repos["space", "alice/space"].variables | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "hf_alice",
        }
    with run_what_was_pushed(hub, tmp_path / "space", **environment) as server:
        space = Client(server.url, verbose=False)
        song, question = SPACE / "examples" / "rendered_flute_tune.ogg", "Which instruments play?"
        assert space.predict(audio=handle_file(song), question=question, api_name="/ask") == expected(song, question)
        assert space.predict(api_name="/status")["model"] == (model or "mullama-tiny")


def test_it_is_pushed_to_show_a_model_of_the_hub(hub, push):  # noqa: F811
    done = push("space", "alice/space", "--model", "alice/mullama-7b")
    assert done.returncode == 0, done.stderr
    files, repo = hub.files("alice/space", "space"), hub.repos["space", "alice/space"]
    assert repo.variables == {"MULLAMA_MODEL": "alice/mullama-7b"}
    assert not [name for name in files if name.startswith("model/")]
    assert SpaceCard(files["README.md"].decode()).data.models == ["alice/mullama-7b"]


def test_mullama_app_says_in_one_line_what_is_wrong(random_model, tmp_path):
    def line(*arguments, **environment) -> str:
        done = subprocess.run(
            [MULLAMA, "app", *arguments], capture_output=True, text=True, env=os.environ | environment, timeout=240
        )
        assert done.returncode == 1, done
        return done.stderr.splitlines()[-1]

    assert line("--model", str(tmp_path / "nothing")).endswith("nothing: no such model folder")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"port {port} is taken" in line("--model", str(random_model), "--port", port)
