"""`mullama push` against a Hub on loopback: what arrives there, and one line on everything that goes wrong."""

import hashlib
import shutil
import sys

import pytest
from huggingface_hub import ModelCard
from mullama.model_card.push import PushError, model_push, space_push

SPACE_CARD = "---\ntitle: MU-LLaMA\nsdk: gradio\napp_file: app.py\n---\n"


@pytest.fixture
def folder(model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "model")
    return tmp_path / "model"


def one_line(done) -> str:
    assert done.returncode == 1 and done.stdout == "", done
    (line,) = done.stderr.splitlines()
    return line


def test_a_model_arrives_whole_and_is_tagged(hub, push, folder):
    (folder / "checkpoint-10").mkdir()
    (folder / "checkpoint-10/optimizer.pt").write_bytes(b"not for others")
    (folder / ".cache").mkdir()
    (folder / ".cache/state").write_bytes(b"not for others")
    done = push("model", folder, "alice/model", "--private")
    assert done.returncode == 0 and done.stdout == f"{hub.url}/alice/model\n", done
    files, repo = hub.files("alice/model"), hub.repos["model", "alice/model"]
    here = {path.name for path in folder.iterdir() if path.is_file()}
    assert files.keys() - {".gitattributes"} == here
    assert repo.private and repo.tags == {"v1": repo.head}
    assert all(files[name] == (folder / name).read_bytes() for name in here - {"README.md"})
    card = ModelCard(files["README.md"].decode())
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "audio-text-to-text")
    assert 'from_pretrained("alice/model", trust_remote_code=True)' in card.text

    # Nothing has changed: nothing is sent, and there is no new tag. Something has: there is.
    sent = dict(hub.bytes_sent)
    assert push("model", folder, "alice/model").returncode == 0
    assert (repo.tags, hub.bytes_sent) == ({"v1": repo.head}, sent)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert push("model", folder, "alice/model").returncode == 0
    assert repo.tags.keys() == {"v1", "v2"} and repo.tags["v2"] == repo.head != repo.tags["v1"]
    assert hub.bytes_sent == sent
    assert one_line(push("model", folder, "alice/model", "--tag", "v1")).endswith(
        "has a tag 'v1' already: give another."
    )


def test_a_dry_run_sends_nothing(hub, push, folder):
    done = push("model", folder, "alice/model", "--dry-run", HF_TOKEN=None)
    assert done.returncode == 0 and hub.requests == []
    listed = {line.split()[-1]: line.split()[0] for line in done.stdout.splitlines()[1:]}
    assert listed.keys() == {path.name for path in folder.iterdir()}
    assert int(listed["model.safetensors"].replace(",", "")) == (folder / "model.safetensors").stat().st_size


def test_an_interrupted_upload_goes_on_where_it_was(hub, push, folder):
    hub.break_commits = True
    assert "alice/model: the upload broke off" in one_line(push("model", folder, "alice/model"))
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert hub.bytes_sent[weights] == (folder / "model.safetensors").stat().st_size
    hub.break_commits = False
    sent = dict(hub.bytes_sent)
    assert push("model", folder, "alice/model").returncode == 0
    assert hub.bytes_sent == sent and "model.safetensors" in hub.files("alice/model")


def test_what_goes_wrong_is_one_line(hub, push, folder):
    assert "There is no token: log in with `hf auth login`" in one_line(push("model", folder, "a/b", HF_TOKEN=None))
    assert "The Hub does not know this token" in one_line(push("model", folder, "a/b", HF_TOKEN="wrong"))
    assert "alice may not write to bob/model" in one_line(push("model", folder, "bob/model"))
    assert "is no repository's name" in one_line(push("model", folder, "alice/my model"))
    dead = one_line(push("model", folder, "alice/model", HF_ENDPOINT="http://127.0.0.1:9"))
    assert "broke off" in dead and "run the same command again" in dead
    card = folder / "README.md"
    card.write_text(card.read_text().replace("license: other", "license: my-own"))
    assert "README.md: the Hub refuses this card" in one_line(push("model", folder, "alice/model"))
    assert not hub.repos


def test_a_folder_that_is_not_whole_is_refused(folder):
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text("# No metadata")
    with pytest.raises(PushError, match="names no licence"):
        model_push(folder, "alice/model")
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(PushError, match="metadata cannot be read"):
        model_push(folder, "alice/model")
    (folder / "README.md").write_text(card)
    (folder / "modeling_mert.py").unlink()
    with pytest.raises(PushError, match="lacks modeling_mert.py: write it with `save_pretrained`"):
        model_push(folder, "alice/model")
    with pytest.raises(PushError, match="is not a folder"):
        model_push(folder / "elsewhere", "alice/model")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(PushError, match="'bert' model"):
        model_push(folder, "alice/model")


def test_the_space_is_told_its_model(hub, process, tmp_path):
    (tmp_path / "space/examples").mkdir(parents=True)
    (tmp_path / "space/README.md").write_text(SPACE_CARD)
    (tmp_path / "space/app.py").write_text("print('a Space')\n")
    (tmp_path / "space/examples/clip.ogg").write_bytes(b"OggS")
    program = (
        "from mullama.model_card.push import space_push\n"
        "print(space_push('alice/space', 'alice/model', 'space').run())"
    )
    done = process(sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    repo = hub.repos["space", "alice/space"]
    assert repo.sdk == "gradio" and repo.variables == {"MULLAMA_MODEL": "alice/model"}
    assert hub.files("alice/space", "space").keys() - {".gitattributes"} == {
        "README.md",
        "app.py",
        "examples/clip.ogg",
    }
    (tmp_path / "space/app.py").unlink()
    with pytest.raises(PushError, match="holds no app.py"):
        space_push("alice/space", folder=tmp_path / "space")
