# make demo    install what asking needs, and ask two clips one question each
# make test    install everything, and run the tests; PYTEST_ADDOPTS=--slow runs the slow ones too
# make lint    ruff, check and format
# make tiny    train the embedded model again from nothing
# make clean   remove what these made

PYTHON ?= python3
# What `make test` installs; with FFmpeg on the machine, EXTRAS=dev,codec also tests m4a and video.
EXTRAS ?= dev
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CLIPS := spaces_app/examples

.PHONY: demo test lint tiny clean
.DELETE_ON_ERROR:

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "mullama needs Python 3.10 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | $(PY)
	$(PIP) --editable .
	@touch $@

.venv/installed-$(EXTRAS): .venv/installed
	$(PIP) --editable '.[$(EXTRAS)]'
	$(PIP) --no-deps tinysoundfont
	@touch $@

demo: .venv/installed
	@ask() { echo; echo "$$1"; echo "Q: $$2"; printf 'A: '; .venv/bin/mullama ask "$(CLIPS)/$$1" "$$2"; }; \
		ask rendered_flute_tune.ogg 'Which instrument is playing?' && ask sectoid_metal_madness.ogg 'Are there drums?'

test: .venv/installed-$(EXTRAS)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

lint: .venv/installed-$(EXTRAS)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

tiny: .venv/installed-$(EXTRAS)
	$(PY) -m mullama.training.tiny
	$(PY) -m mullama.evaluation.synthetic --model runs/tiny/answers --data data/tiny/test_a data/tiny/test_b --clips 600 \
		--out runs/tiny/evaluation
	$(PY) -m mullama.model_card.tiny --model runs/tiny/answers --results runs/tiny/evaluation/results.json \
		--out checkpoints/mullama-tiny --readme README.md

clean:
	rm -rf .venv build *.egg-info
