# make run    the whole path, on this machine
# make test   every test
PYTHON ?= python3
ENV    ?= local
ARGS   ?=

VENV := .venv
BIN  := $(VENV)/bin

export DO_NOT_TRACK := 1

.PHONY: run s3 test test-kills test-spark bench bench-spark bench-dashboard lint viz notebook dashboard psql stop \
	package lock clean

run: $(VENV)/.run
	$(BIN)/kedro run --env=$(ENV) $(ARGS)

# the main job on an S3 server that lives as long as it, or on LocalStack where that runs
s3: $(VENV)/.dev
	$(BIN)/python infra/s3/session.py $(BIN)/kedro run --env=s3 $(ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest --numprocesses=logical --dist=worksteal $(ARGS)

# a run killed at every call that changes the lake, and at every request of a bucket; takes an hour
test-kills: $(VENV)/.dev
	KILLS=all $(BIN)/pytest --timeout=0 tests/test_faults.py tests/test_s3.py -k killed_at_any

# the expressions on Spark, and runs on it; installs it first, 620 MB
test-spark: $(VENV)/.spark
	$(BIN)/pytest --engine=spark --timeout=1200 tests/pipelines tests/lake/test_engine.py tests/test_spark.py $(ARGS)

# what a window costs as the lake grows, what a publication costs, and what it costs to watch a run,
# each against peers in the same run; takes seven minutes. A missed goal fails it, after all have run
bench: $(VENV)/.dev
	@failed=0; for each in growth publication watching; do \
		$(BIN)/python -m benchmarks.$$each || failed=1; done; exit $$failed

# a million observations on Spark beside DuckDB, and what Spark plans; takes six minutes
bench-spark: $(VENV)/.spark
	$(BIN)/python -m benchmarks.spark

# how quick the dashboard is over ten million rows, in Chromium; takes three minutes
bench-dashboard: $(VENV)/.dev
	$(BIN)/python -m benchmarks.dashboard

lint: $(VENV)/.dev
	$(BIN)/pre-commit run --all-files

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

# what is installed: the lock, and this project on top of it
$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements-dev.lock
	@touch $@

$(VENV)/.spark: requirements-spark.lock $(VENV)/.dev
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements-spark.lock
	# Hadoop's s3a of a version near Spark's, for a test; a cluster brings its own
	$(BIN)/uv pip install --quiet --no-deps --target $(VENV)/s3a sagemaker-pyspark==1.4.5
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

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

