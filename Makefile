# make demo: a picture from a prompt on a fresh machine. make test: the tests. make check: all that must pass.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROMPT ?= a red apple
PYTEST_FLAGS ?= -n 2 --dist loadfile

# One thread a process: two processes on two cores are quicker than two threads in each.
test slow check: export OMP_NUM_THREADS ?= 1

.PHONY: demo test check format slow clean

demo: $(VENV)/.run
	$(BIN)/graphdiff run text_to_image --prompt "$(PROMPT)"

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m "slow and not gpu and not network" $(PYTEST_FLAGS)

check: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) outputs dist build

# torch comes first: a looser request would fetch several gigabytes of accelerator libraries.
$(VENV)/.run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/python -m pip install --quiet -c constraints.txt --group test
	touch $@

$(VENV)/.check: $(VENV)/.test
	$(BIN)/python -m pip install --quiet -c constraints.txt --group lint
	touch $@
