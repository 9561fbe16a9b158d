# Needs only make and Python 3.11 or newer: everything else is installed into .venv.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed

DOCUMENT := mkdir -p var/openapi && $(BIN)/python -c \
	'from wsgi import app; print(app.test_client().get("/openapi.json").text)' > var/openapi/openapi.json

# What runs here is asked directly, also where HTTP_PROXY is set.
export no_proxy := 127.0.0.1,localhost,$(or $(no_proxy),$(NO_PROXY))
export NO_PROXY := $(no_proxy)

# Images for containers set it: each process that is started here would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.PHONY: help run test check lint openapi client client-check client-types e2e bench chaos attacks drill demo audit lock

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r target text; \
		do printf '%-12s %s\n' "$$target" "$$text"; done

run: $(INSTALLED) ## start API, workers, beat, Flower and (unless DATABASE_URL is set) PostgreSQL; Ctrl-C stops all
	@$(BIN)/python -m backend.development

test: $(INSTALLED) ## run every test, in four processes; ARGS="-k word" selects, ARGS="-n 0" runs them in one
	$(BIN)/python -m pytest -n 4 --dist loadfile $(ARGS)

check: lint client-check ## run everything that must pass before a change lands
	@$(MAKE) test

lint: $(INSTALLED) ## ruff, mypy --strict, the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: coverage
coverage: $(INSTALLED) ## what the tests run of backend/ and tasks/, in lines and branches; ARGS as for `make test`
	@mkdir -p var/coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 4 --dist loadfile $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/python -m tests.covered

openapi: $(INSTALLED) ## check the OpenAPI document as generators of clients do; needs Node 20
	@$(DOCUMENT)
	npm --prefix openapi install --silent --no-audit --no-fund --no-package-lock
	cd openapi && npx redocly lint --config redocly.yaml --max-problems 1000 ../var/openapi/openapi.json
	cd openapi && npx spectral lint --ruleset spectral.yaml --fail-severity warn ../var/openapi/openapi.json
	cd openapi && npx openapi-typescript ../var/openapi/openapi.json --output ../var/openapi/schema.d.ts
	cd openapi && npx openapi-ts --file hey-api.config.mjs
	cd openapi && npx orval --input ../var/openapi/openapi.json --output ../var/openapi/orval.ts --client fetch
	cd openapi && npx tsc --project tsconfig.json
	$(BIN)/python openapi/changes.py

client: $(INSTALLED) clients/typescript/node_modules ## check clients/typescript, against a running program; needs Node 20
	@$(DOCUMENT)
	cd clients/typescript && npm run --silent check && npm run --silent build && npm run --silent size && npm run --silent test

client-check: $(INSTALLED)
	@if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; \
		then echo "the checks of clients/typescript are skipped: they need Node 20"; \
	elif [ ! -d clients/typescript/node_modules ] && ! npm ping >/dev/null 2>&1; \
		then echo "the checks of clients/typescript are skipped: their packages are not installed, and npm's registry does not answer"; \
		else $(MAKE) clients/typescript/node_modules && $(DOCUMENT) && npm --prefix clients/typescript run --silent check; fi

client-types: $(INSTALLED) clients/typescript/node_modules ## generate the types of clients/typescript from the OpenAPI document
	@$(DOCUMENT)
	cd clients/typescript && npm run --silent types

e2e: $(INSTALLED) clients/typescript/node_modules examples/web/node_modules ## drive examples/web and the console in Chromium, against a running program; needs Node 20 and Chromium
	npm --prefix clients/typescript run --silent build
	cd examples/web && npx tsc
	E2E=all $(BIN)/python -m pytest -n 0 -s tests/e2e $(ARGS)

examples/web/node_modules: examples/web/package-lock.json
	cd examples/web && npm ci --no-audit --no-fund
	@touch $@

clients/typescript/node_modules: clients/typescript/package-lock.json
	cd clients/typescript && npm ci --no-audit --no-fund
	@touch $@

bench: $(INSTALLED) ## measure; needs wrk, PostgreSQL and RabbitMQ, see bench/__main__.py
	$(BIN)/python -m bench $(ARGS)

chaos: $(INSTALLED) ## stop brokers, databases and workers under load, and count what was lost; ARGS="--help" lists options
	$(BIN)/python -m tests.chaos $(ARGS)

attacks: $(INSTALLED) ## play hostile neighbours on the whole program, and print what got through: nothing
	$(BIN)/python -m tests.attacks

drill: $(INSTALLED) ## make each alert fire by its fault, and resolve; needs Prometheus and Alertmanager (Debian's packages)
	$(BIN)/python -m tests.drill $(ARGS)

demo: $(INSTALLED) ## a tour of a running `make run`, request by request
	@$(BIN)/python demo.py

audit: $(INSTALLED) ## look for known vulnerabilities of what production installs; needs the internet
	$(BIN)/uvx pip-audit@2.10.1 --requirement requirements-production.txt --disable-pip --require-hashes

lock: $(INSTALLED) ## compile pyproject.toml to the pinned requirements; UPGRADE=--upgrade renews the pins
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --group dev $(UPGRADE) \
		pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate -c requirements.txt \
		pyproject.toml -o requirements-production.txt

$(INSTALLED): requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Creating .venv with $(PYTHON)"; $(PYTHON) -m venv --clear .venv; }
	@echo "Installing requirements.txt into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@
