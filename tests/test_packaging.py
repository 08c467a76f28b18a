"""The package: one import package, instant to import, whole in a built wheel, known to the Auto classes."""

import shutil
import subprocess
import sys
from pathlib import Path

import mullama
import pytest

REPOSITORY = Path(__file__).parents[1]


def run(*command: str, **how) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, **how)


def python(code: str, *args: str, **how) -> str:
    """What a fresh interpreter prints; it must not fail."""
    done = run(sys.executable, "-P", "-c", code, *args, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_nothing_heavy():
    loaded = python("import sys, mullama; print(*sys.modules)").split()
    assert "mullama" in loaded
    assert not {"torch", "transformers", "numpy", "soundfile"} & set(loaded)


def test_exports_are_what_they_say():
    for name in mullama.__all__:
        assert getattr(mullama, name).__name__ == name
    assert set(mullama.__all__) <= set(dir(mullama))
    with pytest.raises(AttributeError, match="no attribute 'Mullama'"):
        mullama.Mullama  # noqa: B018


AUTO_CLASSES = """
import sys
{imports}
model, processor = AutoModelForMultimodalLM.from_pretrained(sys.argv[1]), AutoProcessor.from_pretrained(sys.argv[1])
print(type(model).__module__, type(AutoModel.from_pretrained(sys.argv[1])).__name__, type(processor).__module__)
print(type(AutoModel.from_pretrained(sys.argv[2])).__name__)
"""


@pytest.mark.parametrize("first", ["mullama", "transformers"])
def test_auto_classes_know_the_models_in_either_order_of_import(first, random_model, release):
    imports = ["import mullama", "from transformers import AutoModel, AutoModelForMultimodalLM, AutoProcessor"]
    if first == "transformers":
        imports.reverse()
    code = AUTO_CLASSES.format(imports="\n".join(imports))
    printed = python(code, str(random_model), str(release / "release" / "MERT")).split()
    assert printed == [
        "mullama.modeling_mullama.modeling_mullama",
        "MuLlamaModel",
        "mullama.processing.processing_mullama",
        "MertModel",
    ]


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory) -> Path:
    """The wheel that a copy of this tree builds, as an installer unpacks it."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY)
    if tracked.returncode:
        pytest.skip(f"not a git checkout, so no list of its files: {tracked.stderr.strip()}")
    for name in tracked.stdout.splitlines():
        if (REPOSITORY / name).is_file() and not name.startswith("tests/"):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / "source" / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index", "--quiet")
    built = run(*pip, "wheel", *offline, "--no-build-isolation", "-w", str(folder), str(folder / "source"))
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    done = run(*pip, "install", *offline, "--target", str(folder / "site"), str(wheel))
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_wheel_holds_one_import_package_and_its_data(unpacked_wheel):
    landed = {path.name for path in unpacked_wheel.iterdir()}
    assert {name for name in landed if not name.endswith(".dist-info")} == {"mullama", "bin"}
    package = unpacked_wheel / "mullama"
    assert (package / "py.typed").is_file()
    assert not (package / "tests").exists()
    for folder, pattern in [
        ("checkpoints/mullama-tiny", "*"),
        ("spaces_app/examples", "*"),
        ("training/configs", "*.yaml"),
    ]:
        inside, here = (
            {path.name for path in (root / folder).glob(pattern)} - {"__pycache__"} for root in (package, REPOSITORY)
        )
        assert inside == here, folder
    modules = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    expected = {path.name for path in REPOSITORY.glob("*.py")}
    for folder in {path.parent for path in REPOSITORY.glob("[a-z]*/__init__.py")}:
        expected |= {str(path.relative_to(REPOSITORY)) for path in folder.rglob("*.py")}
    for folder in ("checkpoints", "spaces_app"):  # code that runs where this package is not installed
        expected |= {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / folder).rglob("*.py")}
    assert modules == expected


def test_wheel_runs(unpacked_wheel, random_model, audio_corpus, tmp_path):
    environment = {"PYTHONPATH": str(unpacked_wheel), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    where = python("import mullama; print(mullama.__file__)", env=environment, cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(unpacked_wheel)
    command = str(unpacked_wheel / "bin" / "mullama")
    assert run(command, "--help", env=environment, cwd=tmp_path).stdout.startswith("usage: mullama")
    question = ("ask", str(audio_corpus.odd["ogg"]), "Is it fast?", "--max-new-tokens", "8")
    asked = run(command, *question, "--model", str(random_model), env=environment, cwd=tmp_path)
    assert asked.returncode == 0 and asked.stdout.strip(), asked.stderr
    if (REPOSITORY / "checkpoints" / "mullama-tiny").exists():
        embedded = run(command, *question, env=environment, cwd=tmp_path)
        assert embedded.returncode == 0 and embedded.stdout.strip(), embedded.stderr


def test_constraints_are_public_versions_that_meet_the_ranges():
    import importlib.metadata

    from packaging.requirements import Requirement

    pins = {}
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            (specifier,) = pin.specifier
            assert specifier.operator == "==" and "+" not in specifier.version, line
            pins[pin.name.lower().replace("_", "-")] = specifier.version
    for needed in map(Requirement, importlib.metadata.requires("mullama")):
        if needed.marker is None:
            assert needed.specifier.contains(pins[needed.name.lower()]), needed
