# Every target's "##" text is its help line.
UV := .tools/bin/uv
RUN := .venv/bin/
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what can be made.
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

.tools/bin/uv:
	@echo "Setting up: private copy of uv in .tools (once)"
	@python3 -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check uv

.PHONY: setup
setup: .tools/bin/uv ## Install everything into .venv, exactly as locked.
	@$(UV) sync --quiet --locked

.PHONY: demo
demo: setup ## Start everything in the background, send real events, show each arriving.
	@./carillon demo

.PHONY: up
up: setup ## Start everything here, with all its logs, until Ctrl-C.
	@./carillon up

.PHONY: down
down: setup ## End what `make demo` or `make up` started; data is kept.
	@./carillon down

.PHONY: lint
lint: setup ## Check style, types and import rules.
	@$(RUN)ruff check .
	@$(RUN)ruff format --check .
	@$(RUN)mypy
	@$(RUN)lint-imports

.PHONY: format
format: setup ## Format the code and mend what can be mended by machine.
	@$(RUN)ruff check --fix .
	@$(RUN)ruff format .

.PHONY: test
test: lint ## Run everything that needs no Docker.
	@$(RUN)pytest

.PHONY: bench
bench: .tools/bin/uv ## Measure against the floors and Celery (private servers, about 4 minutes); writes docs/benchmarks.md.
	@UV_PROJECT_ENVIRONMENT=.tools/bench $(UV) sync --quiet --locked --group bench
	@PYTHONPATH=tests .tools/bench/bin/python -m bench --write
