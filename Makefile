# Everything that is done more than once. `make` alone lists it; each target makes the environment it needs.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
ARGS ?=
TORCH ?=  # cpu, cu128, ...: the build of PyTorch, from PyTorch's own index; empty: the one that pip chooses

BIN := $(VENV)/bin
# Nothing is compiled beforehand: most of PyTorch is never imported, and what is, is compiled then.
INSTALL ?= $(BIN)/python -m pip install --no-compile
READY := $(VENV)/.installed
LOWEST := $(VENV)-lowest
DATASET := demo/nnUNet_raw/Dataset501_SynthLiver

# One thread a process: the tests run in JOBS processes already. Slow tests are handed out one by one. Figures are drawn to files, never to a screen, and
# matplotlib keeps its font cache in the environment instead of in the home folder.
FAST := OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n $(JOBS) --dist loadfile
SLOW := OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -n $(JOBS) --dist load --maxschedchunk 1 --durations=10
# What pytest remembers, so that the last lines of a long log name what failed in either part.
FAILED := $(BIN)/python -c 'import json, pathlib as p; print(*json.loads(p.Path(".pytest_cache/v/cache/lastfailed").read_text()), sep="\n")'
export MPLBACKEND ?= Agg
export MPLCONFIGDIR ?= $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/matplotlib

.DEFAULT_GOAL := help
.PHONY: help install locked demo test quick bench bench-patches bench-training bench-writer study realism corpus liver-model check lint format-check types imports format schema \
  lock lowest clean distclean

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(READY)  ## Make the environment in .venv and install into it (TORCH=cpu: PyTorch without CUDA; VENV=... another folder, PYTHON=... another Python)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "tumorgen needs Python 3.11 or newer, and '$(PYTHON)' is not: say which one to use, as in 'make $(or $(MAKECMDGOALS),install) PYTHON=python3.12'" >&2; exit 1; }
	@echo "Making the environment in $(VENV). nnU-Net brings PyTorch: a few minutes and several GB, once."
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(INSTALL) torch torchvision --index-url https://download.pytorch.org/whl/$(TORCH))
	$(INSTALL) --editable '.[dev]'
	@touch $@

locked:  ## Make the environment as requirements-dev.lock has it, version by version, hashes checked
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)  ## Run everything on two phantoms, afresh: demo/ gets scans, their livers, a dataset, its proof and pictures, a reader study
	rm -rf demo
	$(BIN)/tumorgen phantom demo --count 2
	$(BIN)/tumorgen liver-mask demo/images demo/livers --scans demo/scans.csv --jobs $(JOBS)
	$(BIN)/tumorgen synth --scans demo/scans.csv --output demo/nnUNet_raw --dataset-id 501 --per-scan 5
	$(BIN)/tumorgen verify $(DATASET)
	$(BIN)/tumorgen preview $(DATASET) --output demo/preview
	$(BIN)/tumorgen turing make --real $(DATASET) --synthetic $(DATASET) --count 2 --share-real 0.5 --output demo/study
	$(BIN)/tumorgen turing export demo/study demo/website
	@echo "Done. Look at demo/preview; the dataset is $(DATASET). \`tumorgen turing serve demo/study\` asks you which tumours are real"
	@echo "(phantoms have none: the dataset plays both parts)."

# pytest exits with 2 where it was interrupted or cannot begin, which is so for the slow tests, too, and with 5 where
# ARGS selects none.
test: $(READY)  ## Run all tests, the fast ones first, and say of both how they ended (ARGS=... for pytest)
	@told() { case $$1 in 0) echo passed;; 2) echo STOPPED;; 5) echo none;; '') echo not run;; *) echo FAILED;; esac; }; \
	slow=; $(FAST) $(ARGS); fast=$$?; \
	[ $$fast = 2 ] || { $(SLOW) $(ARGS); slow=$$?; }; \
	echo "== fast tests: $$(told $$fast); slow tests: $$(told "$$slow")"; \
	case $$fast$$slow in 00|05|50) ;; *) $(FAILED); exit 1;; esac

quick: $(READY)  ## Run the fast tests only
	$(FAST) $(ARGS)

bench: $(READY)  ## Measure what a variant, a patch in training, a liver mask and the way to training cost: tables on stdout, benchmark.json (ARGS="--quick", --profile, --markdown ...)
	$(BIN)/python tests/benchmarks/benchmark_samples.py $(ARGS)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python tests/benchmarks/benchmark_patches.py --patches 10 --batches 5
	$(BIN)/python tests/benchmarks/benchmark_liver.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/benchmark_training.py

corpus: $(READY)  ## Try broken image files by the hundred: kind of fault, tried, handled (ARGS="--mutations 2000", --lines)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python tests/faults/corpus.py $(ARGS)

bench-patches: $(READY)  ## Measure what tumours on the fly cost nnU-Net's data loader (ARGS=--write puts it into docs/training.md)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python tests/benchmarks/benchmark_patches.py $(ARGS)

bench-writer: $(READY)  ## Measure what the writer alone costs, by box and size of chunk (ARGS=--write puts it into docs/writer.md)
	$(BIN)/python tests/benchmarks/benchmark_writer.py $(ARGS)

bench-training: $(READY)  ## Measure the way from healthy scans to the first training step, beside nnU-Net's own preprocessing (ARGS="--per-scan 4")
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/benchmark_training.py $(ARGS)

# With --real it is the study on real tumours; `make study ARGS="--real . --help"` tells its options.
study: $(READY)  ## Train on few and many variants and on the fly, or compare recipes on real tumours: docs/study.md (ARGS="--real ...")
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -W ignore tests/studies/$(if $(findstring --real,$(ARGS)),real_study,study).py $(ARGS)

realism: $(READY)  ## Audit the tumours of every recipe beside real ones: docs/realism.md (ARGS="--real FOLDER --labels FOLDER --write")
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -W ignore tests/studies/realism.py $(ARGS)

SETTING ?= full
RECIPE ?= build
liver-model: $(READY)  ## Train the small liver model (SETTING=small on two cores, smoke; RECIPE=leave-one-out; docs/liver-model.md)
	PYTHONPATH=recipes $(BIN)/python -m liver_model $(RECIPE) --setting $(SETTING) --jobs $(JOBS) $(ARGS)

check: lint format-check types imports  ## Lint, check formatting, types and which package imports which; pre-commit runs the same

lint: $(READY)
	$(BIN)/ruff check

format-check: $(READY)
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

format: $(READY)  ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

schema: $(READY)  ## Write the dictionary of columns and the schemas in manifests/ from the code
	$(BIN)/python -m tumorgen.schema manifests

lock: $(READY)  ## Write requirements-dev.lock anew: the newest versions that pyproject.toml allows, with hashes
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	  --output-file requirements-dev.lock pyproject.toml

# Only what pyproject.toml names is taken at its lowest; what that brings (PyTorch) is the newest that goes with it.
lowest: $(READY)  ## Run the fast tests with the lowest versions that pyproject.toml allows, in an environment that goes again
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(BIN)/uv pip install --python $(LOWEST)/bin/python --resolution lowest-direct --compile-bytecode --editable '.[dev]'
	$(BIN)/uv pip list --python $(LOWEST)/bin/python
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile -p no:cacheprovider $(ARGS)
	rm -rf $(LOWEST)

clean:  ## Remove the demo, builds and caches; data and the environment stay
	rm -rf demo build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find cli tumorgen tests -name __pycache__ -type d -exec rm -rf {} +

distclean: clean  ## Remove the environment too
	test ! -f $(READY) || rm -rf $(VENV)
