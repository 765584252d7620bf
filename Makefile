# make demo    the whole circle on two CPU cores: a report to look at in about ten minutes (SEED=1 for another run)
# make test    style, types and tests (offline)
# make slow    tests that are right but slow: kill tests, the browser, the demo
# make pipeline-demo     notebooks to checked questions: a small real corpus, a stand-in for the models (minutes)
# make ablation   the tiny model after 0, 1, 2, 3, 5 and 7 epochs, three seeds: table, plot, verdicts (an hour)
# make check   style and types only
# make battery hostile cells in real kernels, as this user and, where this is root, as an ordinary one
# make bench-kernel       how fast kernels start and answer, beside ipykernel, Inspect's python() and smolagents (four minutes)
# make bench-sample       what a sample of three cells costs beyond Inspect itself, with a profile (two minutes)
# make bench-soak         2,000 cells over 200 kernels, 1 in 20 hostile: does the host leak?
# make bench-killed-run   450 questions, the run killed five times and resumed (about three minutes)
# make bench-pipeline     how fast notebooks are read and compared, on 20,000 made ones (SMALL=1: 400, whether it runs)
# make bench-pipeline-kills   the whole pipeline killed 50 times, twice: nothing lost, nothing paid twice (half an hour)
# make bench-gate         what the contamination gate stops (BENCHMARK=folder of DABStep's files), seconds
# make bench-rollouts     what a half-taught tiny model learns from its own rollouts: DPO, GRPO (SEEDS="0 1"), an hour
# make bench-link         what the join of Meta Kaggle's tables costs, on 2 GB of made ones
# make bench-train        the recipe beside TRL's defaults on two cores: speed at the same loss (about five minutes)
# make bench-train-kills  a training killed ten times at random: the same weights and curve? (about four minutes)
# make bench-train-gpu    one GPU: tokens/s, MFU and memory of a full fine-tune of Qwen3-4B, no download (minutes)
# make bench-calls        what a call of a language model costs here, and how many fit at once
# Everything is installed into .venv beside this file; the second time is quick.

SHELL := /bin/bash
PYTHON ?= $(shell for v in 3.11 3.12 3.13; do command -v python$$v >/dev/null 2>&1 && python$$v -c '' 2>/dev/null && echo python$$v && break; done || echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test ablation check slow bench-demo bench-killed-run bench-calls bench-gate battery bench-kernel bench-sample bench-soak bench-pipeline bench-pipeline-kills bench-rollouts bench-link bench-train bench-train-kills bench-train-gpu pipeline-demo clean
.DEFAULT_GOAL := setup

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): a few minutes the first time"
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@rm -rf dabstep.egg-info build  # found before the installed metadata, they hide our tasks from Inspect
	@bash scripts/install-bubblewrap
	@touch $@

demo: setup
	@$(BIN)/dabstep demo $(if $(SEED),--seed $(SEED))

test: check
	@$(BIN)/python -m pytest -n 2 --dist loadfile

ablation: setup
	@$(BIN)/python recipes/ablate.py recipes/configs/epochs-tiny.yaml

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

slow: setup
	@$(BIN)/python -m pytest -m slow

bench-demo: setup
	@$(BIN)/python scripts/five_seeds.py

bench-killed-run: setup
	@PYTHONPATH=. $(BIN)/python scripts/killed_run.py

bench-calls: setup
	@$(BIN)/python -m scripts.bench_calls

bench-gate: setup
	@$(BIN)/python scripts/bench_gate.py --benchmark $(or $(BENCHMARK),data/dabstep)

battery: setup
	@$(BIN)/python -m harness.kernel.battery
	@if [ $$(id -u) = 0 ]; then scripts/as-ordinary-user $(BIN)/python -m harness.kernel.battery; fi

bench-kernel: setup
	@PYTHONPATH=. $(BIN)/python scripts/bench_kernel.py

bench-sample: setup
	@PYTHONPATH=. $(BIN)/python scripts/bench_sample.py

bench-soak: setup
	@PYTHONPATH=. $(BIN)/python scripts/soak_kernels.py

bench-pipeline: setup
	@PYTHONPATH=. $(BIN)/python scripts/bench_pipeline.py $(if $(SMALL),--small)

bench-pipeline-kills: setup
	@$(BIN)/python -m scripts.killed_pipeline $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

bench-rollouts: setup
	@PYTHONPATH=. $(BIN)/python scripts/learn_from_rollouts.py $(if $(SEEDS),--seeds $(SEEDS))

bench-link: setup
	@PYTHONPATH=. $(BIN)/python scripts/bench_link.py

bench-train: setup
	@$(BIN)/python -m scripts.bench_train

bench-train-kills: setup
	@$(BIN)/python -m scripts.bench_train_kills

bench-train-gpu: setup
	@$(BIN)/python -m scripts.bench_train_gpu

pipeline-demo: setup
	@$(BIN)/python scripts/pipeline_demo.py

clean:
	rm -rf $(VENV) results/runs build *.egg-info
