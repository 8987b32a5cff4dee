# The project's commands. `make` alone lists them.
#
#   PYTHON=...   the Python to set up with (3.11 to 3.13)
#   ARGS="..."   what to hand to the command: make train ARGS="data=synthetic trainer.max_epochs=2"

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
# Containers often set it; then each of the processes that a command or a test starts would compile torch anew (+9 s).
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup train demo test lint docs benchmark constraints clean

help: ## list these commands
	@echo 'usage: make COMMAND [ARGS="..."] [PYTHON=python3.12]'; echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make .venv and install everything into it (nothing to do when it is up to date)

train: setup ## train: make train ARGS="..."
	@$(BIN)/python -m fer.train $(ARGS)

# The newest run is shown. Where there is none, half of the usual epochs make one that knows drawn faces.
demo: setup ## show the newest run in a web page; trains one on drawn faces if there is none
	@newest() { ls -t outputs/*/*/checkpoints/best.ckpt 2>/dev/null | head -n 1 | sed 's|/checkpoints/best.ckpt$$||'; }; \
	if [ -z "$$(newest)" ]; then \
		echo 'There is no run yet. Training one on drawn faces takes a minute or two ...'; \
		$(BIN)/python -m fer.train name=demo trainer.max_epochs=5 || exit; \
	fi; \
	$(BIN)/python -m fer.demo ckpt="$$(newest)" $(ARGS)

test: setup ## run the tests, several at a time
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: setup ## check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: setup ## build the documentation site into site/; any warning is an error
	@$(BIN)/zensical build --strict --config-file mkdocs.yml
	@echo 'built: site/index.html'

benchmark: setup ## measure speed
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what builds and tools leave behind; .venv, data and outputs stay
	rm -rf build dist site .cache .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Version ranges alone would give every machine another set of packages; constraints.txt says which were tested.
# Python compiles what it imports, a small part of what is installed: pip would take a minute for all of it.
# The last step loads the packages once: a torch that torchvision cannot use shows up here and not in the first run.
$(READY): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
		echo "error: fer needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is: $$("$(PYTHON)" --version 2>&1)"; \
		echo "       name another one: make setup PYTHON=/path/to/python3.12"; exit 2; } >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@if command -v uv >/dev/null; then \
		echo "Installing with uv ..."; uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
		echo "Installing with pip: torch is large, this takes some minutes ..."; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'; \
	fi
	@$(BIN)/python -m fer.environment
	@touch $(READY)

# Only for maintainers, and the only command that needs uv.
constraints:
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  uv pip compile pyproject.toml --extra dev --python-version 3.11 --upgrade --no-header --no-annotate --quiet; \
	} > constraints.new
	mv constraints.new constraints.txt
