"""
transformers' own common tests on this project's models: a development script, which pytest does not collect.

    python tests/modeling_mullama/run_transformers_common_tests.py [pytest arguments]

It needs `pip install parameterized`, and the package index once, for the source distribution of the installed
transformers, which carries `tests/test_modeling_common.py`. What that imports and the distribution lacks (the testers
of generation and of export) is empty here; generation is tested in `test_modeling_mullama.py`. The library's
AudioFlamingo3 runs beside ours as the control.
"""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir

FOLDER = Path(gettempdir()) / f"transformers-common-tests-{version('transformers')}"
STAND_INS = {
    "__init__.py": "",
    "pytest.ini": "[pytest]\naddopts = --disable-warnings\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
}


def unpack_common_tests() -> Path:
    """Downloads the source distribution, and unpacks its tests as the package `transformers_tests`."""
    package = FOLDER / "transformers_tests"
    if package.exists():
        return package
    FOLDER.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, f"transformers=={version('transformers')}", "--dest", str(FOLDER)], check=True)
    partial = package.with_suffix(".partial")
    with tarfile.open(next(FOLDER.glob("*.tar.gz"))) as archive:
        archive.extractall(partial, filter="data")
    tests = next(partial.glob("*/tests"))
    for name, content in STAND_INS.items():
        (tests / name).parent.mkdir(exist_ok=True)
        (tests / name).write_text(content)
    return tests.rename(package)


if __name__ == "__main__":
    package = unpack_common_tests()
    command = [sys.executable, "-m", "pytest", "-c", str(package / "pytest.ini"), "-q", "-p", "no:cacheprovider"]
    command += [str(Path(__file__).with_name("transformers_common_tests.py")), *sys.argv[1:]]
    path = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))
    sys.exit(subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode)
