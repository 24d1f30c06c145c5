# Verbs of the project. Each sets up what it needs: Python 3.11 or later and make are enough.
.PHONY: setup quickstart checkpoints teacher-maps test test-docs test-slow test-lowest test-python docs lint bench clean

PYTHON ?= python3
BIN := .venv/bin
SET_UP := .venv/.set-up
PEERS := .venv-peers/.set-up
LOWEST := .venv-lowest/.set-up
BARE := build/bare

# Tests on real data sets run where these are; the others need nothing but the embedded example.
ifndef TLZOO_DATA
ifneq ($(wildcard ../shared/data/index.json),)
export TLZOO_DATA := $(abspath ../shared/data)
endif
endif

# Networks this small lose more than they gain by sharing a batch among cores.
quickstart test test-docs test-slow test-python docs: export OMP_NUM_THREADS ?= 1

setup: $(SET_UP)

$(SET_UP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'tlzoo needs Python 3.11 or later, $(PYTHON) is older; name another: make setup PYTHON=python3.12'; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: setup
	$(BIN)/tlzoo finetune semiconductors --from momentnet-u --head band_gap --config configs/split/by-composition.yaml --run_dir runs/quickstart

# Hours on two cores, days for the large ALIGNN without a GPU; goes on where it stopped.
# Some of them: make checkpoints CARDS="cgcnn-fe momentnet-u". What is no checkpoint any more can be trained, too: make pretrain-cgcnn-mpt-no-ph.
TAUGHT := momentnet-u cgcnn-u alignn-s-u
CARDS ?= cgcnn-fe cgcnn-bg cgcnn-gv cgcnn-mpt alignn-s-fe alignn-s-gv alignn-fe alignn-bg alignn-mpt momentnet-u2 momentnet-mpt momentnet-all momentnet-expt-gap roost-fe-bg $(TAUGHT)

checkpoints: $(CARDS:%=pretrain-%)

pretrain-%: setup
	$(BIN)/tlzoo fit --config configs/experiments/pretrain-$(firstword $(subst -no-, ,$*)).yaml \
	  $(if $(findstring -no-,$*),--config configs/leave-out/no-$(lastword $(subst -no-, ,$*)).yaml) --run_dir runs/$*
	$(BIN)/tlzoo test runs/$*

pretrain-cgcnn-mpt $(patsubst %,pretrain-cgcnn-mpt-no-%,dc ebg gv ph pz): runs/cgcnn-fe-bg/model.safetensors

runs/cgcnn-fe-bg/model.safetensors: | setup
	$(BIN)/tlzoo fit --config configs/experiments/pretrain-cgcnn-fe-bg.yaml --run_dir $(@D)

# Taught by a potential: cells of at most 20 atoms, then all.
NETWORK_cgcnn-u := --model.backbone CGCNN --model.backbone.dim 128
NETWORK_alignn-s-u := --config configs/backbone/alignn-small.yaml
FURTHER := --config configs/experiments/pretrain-taught-further.yaml

$(TAUGHT:%=pretrain-%): pretrain-%: runs/%1/model.safetensors
	$(BIN)/tlzoo fit $(FURTHER) --model.backbone.name runs/$*1 --model.head.name runs/$*1 --run_dir runs/$*
	$(BIN)/tlzoo test runs/$*

$(TAUGHT:%=runs/%1/model.safetensors): runs/%1/model.safetensors: | runs/teacher/table.json
	$(BIN)/tlzoo fit --config configs/experiments/pretrain-taught.yaml $(NETWORK_$*) --run_dir $(@D)

# What has learned from every crystal has no test part: its errors are those of momentnet-u, from which it starts.
pretrain-momentnet-all: runs/teaching-everything.parquet runs/teacher/table.json
	$(BIN)/tlzoo fit --config configs/experiments/pretrain-momentnet-all.yaml --run_dir runs/momentnet-all

# The published momentnet-u, taught the finer part of what the potential says.
pretrain-momentnet-u2: runs/answers.parquet | runs/teacher/table.json

pretrain-momentnet-mpt: | runs/teacher/table.json

runs/answers.parquet: | setup
	$(BIN)/tlzoo predict momentnet-u pretraining -o $@

# What checkpoints that were taught say of the teacher's numbers, beside their weights, which stay as they are.
teacher-maps: setup runs/teacher/table.json
	$(BIN)/python -m maintenance.teacher_maps
	$(BIN)/python -m maintenance.checkpoints

runs/teaching-everything.parquet: | runs/teaching.parquet
	$(BIN)/python -m maintenance.teaching --everything -o $@

runs/teacher/table.json: | runs/teaching.parquet
	$(BIN)/tlzoo embed sevennet-l3i5 runs/teaching-small.parquet --atoms --whiten 512 --skip-bad -o $(@D)

runs/teaching.parquet: | setup
	$(BIN)/python -m maintenance.teaching --compute 3000 -o $@

pretrain-roost-fe-bg: runs/compositions.parquet

runs/compositions.parquet: | setup
	$(BIN)/python -m maintenance.compositions -o $@

pretrain-cgcnn-gv-taught: runs/moduli.parquet

runs/moduli.parquet: | setup
	$(BIN)/tlzoo predict alignn-s-gv pretraining -o $@

# One process per core; tests in a row share what their file trains.
test: setup
	$(BIN)/pytest -n auto --dist worksteal --durations=20

# Pages of the documentation, and files of studies.
test-docs: setup
	$(BIN)/pytest -n auto --dist worksteal --durations=20 -m documents tests/documents

test-slow: setup
	$(BIN)/pytest -m slow

# The quick part of the tests with another Python, in an environment of its own: make test-python PYTHON=python3.13
test-python:
	@set -e; venv=.venv-$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	if ! [ $$venv/.set-up -nt pyproject.toml ] || ! [ $$venv/.set-up -nt constraints.txt ]; then \
	  $(PYTHON) -m venv $$venv; \
	  $$venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'; \
	  touch $$venv/.set-up; \
	fi; \
	$$venv/bin/python -m pytest -n auto --dist worksteal -p no:cacheprovider tests/test_layers.py tests/unit tests/contracts

# The documentation as a site, build/site/index.html; whatever is amiss is an error. The tests of the documents do the same.
docs: export NO_MKDOCS_2_WARNING := 1
docs: setup
	$(BIN)/python -m mkdocs build --strict

# The wheel where nothing else is, with the lowest versions that pyproject.toml allows; warnings of those are not ours.
# A large network is pulled from the clone.
INSTALLED = cd $(BARE) && env -u PYTHONPATH -u TLZOO_CHECKPOINTS -u TLZOO_CHECKPOINTS_URL TLZOO_CACHE=cache $(abspath .venv-lowest/bin/tlzoo)

test-lowest: $(LOWEST)
	$(INSTALLED) zoo list
	$(INSTALLED) predict cgcnn-bg semiconductors -o gaps.csv
	$(INSTALLED) predict alignn-fe semiconductors 2>&1 | grep 'tlzoo zoo pull alignn-fe --from PLACE'
	$(INSTALLED) zoo pull alignn-fe --from $(abspath checkpoints)
	$(INSTALLED) zoo verify
	# without the one that asks matminer, an extra
	.venv-lowest/bin/pytest -n auto --dist worksteal -W ignore tests/unit/data tests/unit/training tests/unit/evaluation \
	  --ignore tests/unit/data/test_named.py

$(LOWEST): pyproject.toml constraints.txt $(SET_UP)
	rm -rf dist $(BARE) .venv-lowest
	mkdir -p $(BARE)
	$(BIN)/python -m build --installer pip --outdir dist .
	$(BIN)/python -m maintenance.distributions dist
	$(BIN)/python -m maintenance.lowest > $(BARE)/constraints.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --disable-pip-version-check -c $(BARE)/constraints.txt dist/*.tar.gz pytest pytest-cov pytest-xdist beartype
	$(INSTALLED) zoo list > of-sdist.txt
	.venv-lowest/bin/python -m pip install --disable-pip-version-check --no-deps --force-reinstall dist/*.whl
	$(INSTALLED) zoo list | diff - of-sdist.txt
	@touch $@

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Parts of it: make bench PARTS="training memory".
bench: setup $(PEERS)
	$(BIN)/python -m benchmarks $(PARTS)

# torch by itself: no other requirement is to choose its version or build.
$(PEERS): benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check "$$(grep '^torch==' $<)"
	.venv-peers/bin/python -m pip install --disable-pip-version-check -r $<
	@touch $@

# Runs and trained models stay.
clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
