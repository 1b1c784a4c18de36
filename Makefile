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

# Tests mostly wait, so several processes halve the time; each has servers of its own, a file's tests stay together.
JOBS ?= 1

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
test: lint ## Run everything that needs no Docker (half an hour; JOBS=3 runs files side by side).
	@$(RUN)pytest --numprocesses $(or $(filter-out 1,$(JOBS)),0) --dist loadfile

.PHONY: fault
fault: JOBS = 3
fault: setup ## Run every fault test, those too that take long (half an hour).
	@$(RUN)pytest tests/fault -m "not alone" --numprocesses $(or $(filter-out 1,$(JOBS)),0) --dist loadfile
	@$(RUN)pytest tests/fault -m alone

.PHONY: inbox
inbox: ## Build the inbox for browsers anew, after a change in clients/javascript (needs Node).
	@cd clients/javascript && npm ci --silent && npm run --silent types && npm run --silent build

.PHONY: blocking
blocking: setup ## Write the blocking Python client anew, after a change in its asynchronous one.
	@$(RUN)python clients/python/make_blocking.py

MINUTES ?= 10
.PHONY: soak
soak: setup ## Break things at random under traffic for MINUTES=10, then compare everything; SEED=n plays one again.
	@PYTHONPATH=tests $(RUN)python -m soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# A project and ports of its own, so that it runs beside a platform that is up.
COMPOSE_TEST := env CARILLON_API_PORT=18080 CARILLON_MOCK_HTTP_PORT=18025 CARILLON_MOCK_SMTP_PORT=11025 \
	docker compose --project-name carillon-test

.PHONY: test-compose
test-compose: setup ## Run the tests over the wire against the platform in containers (needs Docker).
	@trap '$(COMPOSE_TEST) down --volumes' EXIT; trap 'exit 130' INT TERM; \
	$(COMPOSE_TEST) up --detach --build --wait && \
	CARILLON_E2E_API_URL=http://127.0.0.1:18080 CARILLON_E2E_MOCK_URL=http://127.0.0.1:18025 \
	CARILLON_E2E_KEYS_COMMAND='$(COMPOSE_TEST) run --rm -T cli keys create' \
	$(RUN)pytest tests/e2e \
	|| { $(COMPOSE_TEST) logs --no-color --tail 50; exit 1; }

.PHONY: test-containers
test-containers: setup ## Run the integration tests on the pinned servers in containers (needs Docker).
	@TESTCONTAINERS_RYUK_DISABLED=true CARILLON_TEST_BACKEND=containers $(RUN)pytest tests/integration

.PHONY: compose-up
compose-up: ## Start everything in containers (needs Docker).
	@docker compose up --detach --build --wait

.PHONY: compose-down
compose-down: ## End what `make compose-up` started; data is kept.
	@docker compose down

.PHONY: bench
bench: .tools/bin/uv ## Measure against the floors and Celery (about 7 minutes; ONLY=streams: open streams, 4 minutes); writes docs/benchmarks.md.
	@UV_PROJECT_ENVIRONMENT=.tools/bench $(UV) sync --quiet --locked --group bench
	@PYTHONPATH=tests .tools/bench/bin/python -m bench --write $(if $(ONLY),--only $(ONLY))
