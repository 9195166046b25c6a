# Lineage: `make help` lists what there is. Every target's plain command is in the README.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
PROJECT = projects/$(NAME)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup check repro preset init predict suggest show ui test test-slow lint format study-digits study-noisy-student study-meta study-feedback study-forgetting study-lwf study-class-incremental study-dropout study-old-images study-lineage study-distillation study-segmentation two-moons bench requirements clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## create .venv and install the pinned packages (about a minute)

$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; fix: make PYTHON=/path/to/python3.11 setup" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python -r requirements.txt || \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(VENV)/bin/python -m compileall -q pipeline stages  # where Python may not write it when it runs
	@touch $@

check: setup ## check params.yaml without running anything
	@python -m pipeline check

repro: check ## run what has changed of the chain, then show the table
	dvc repro
	@python -m pipeline show

preset: setup ## run presets/$(NAME).yaml on the images in IMAGES, in a project of its own below projects/
	@test -f "presets/$(NAME).yaml" && test -d "$(IMAGES)" || \
		{ echo "error: preset: NAME=$(NAME) or IMAGES=$(IMAGES) is not there; fix: make preset NAME=cifar10-cpu IMAGES=<folder with train/ and test/>" >&2; exit 2; }
	@mkdir -p $(PROJECT)/.dvc $(PROJECT)/data/pseudo_labels
	@cp dvc.yaml .dvcignore $(PROJECT)/
	@cp -R .dvc/config .dvc/.gitignore .dvc/plots $(PROJECT)/.dvc/
	@printf '[core]\n    no_scm = true\n' > $(PROJECT)/.dvc/config.local  # git ignores the folder
	@ln -sfn ../../pipeline $(PROJECT)/pipeline && ln -sfn ../../stages $(PROJECT)/stages
	@ln -sfn "$$(cd "$(IMAGES)" && pwd)" "$(PROJECT)/$$(sed -n 's/^  root: *//p' presets/$(NAME).yaml)"
	@test -f $(PROJECT)/params.yaml || cp presets/$(NAME).yaml $(PROJECT)/params.yaml
	cd $(PROJECT) && python -m pipeline check && dvc repro && python -m pipeline show

init: setup ## look at the images in IMAGES=<folder> and write params.yaml for them
	@test -n "$(IMAGES)" || { echo "error: init: no IMAGES; fix: make init IMAGES=<folder>" >&2; exit 2; }
	@python -m pipeline init "$(IMAGES)"

predict: setup ## what the model that ships, or MODEL=, sees in IMAGES=<files, folders or patterns>
	@test -n "$(IMAGES)" || { echo "error: predict: no IMAGES; fix: make predict IMAGES=<folder>" >&2; exit 2; }
	@python -m pipeline predict $(if $(MODEL),--model "$(MODEL)") $(IMAGES)

suggest: setup ## the N=50 images whose labels would help most
	@python -m pipeline suggest -n $(or $(N),50)

show: setup ## show the table of the last run
	@python -m pipeline show

ui: setup ## open MLflow where experiments are compared (Ctrl-C ends it)
	@python -m pipeline ui

test: setup ## the quick tests (offline, minutes)
	python -m pytest

test-slow: setup ## the tests that take long
	python -m pytest -m slow

lint: setup ## ruff check and format, without changing files
	ruff check .
	ruff format --check .

format: setup ## let ruff mend what it can
	ruff check --fix .
	ruff format .

study-digits: setup ## the table over seeds in benchmarks/RESULTS.md (continues where it stopped)
	python -m benchmarks.study_digits

study-noisy-student: setup ## generations and baselines, ablations; IMAGES=<CIFAR-10> adds it
	python -m benchmarks.study_noisy_student $(if $(IMAGES),--images $(IMAGES))

study-meta: setup ## Meta Pseudo Labels, generations and UDA; IMAGES=<CIFAR-10> adds it
	python -m benchmarks.study_meta $(if $(IMAGES),--images $(IMAGES))

study-feedback: setup ## the two estimators of the feedback along a run, with a picture
	OMP_NUM_THREADS=1 LINEAGE_TRACKING=off python -m benchmarks.study_feedback

study-forgetting: setup ## six ways to learn a task B after A; IMAGES=<CIFAR-10> adds it
	python -m benchmarks.study_forgetting $(if $(IMAGES),--images $(IMAGES))

study-lwf: setup ## the table of Learning without Forgetting; IMAGES=<CIFAR-10> adds it
	python -m benchmarks.study_lwf $(if $(IMAGES),--images $(IMAGES))

study-class-incremental: setup ## ten classes in five tasks; IMAGES=<CIFAR-10>
	python -m benchmarks.study_class_incremental $(if $(IMAGES),--images $(IMAGES))

study-dropout: setup ## forgetting with and without dropout; IMAGES=<CIFAR-10> adds it
	python -m benchmarks.study_dropout $(if $(IMAGES),--images $(IMAGES))

study-old-images: setup ## a task on photographs, with old images and without; IMAGES=<CIFAR-10>
	python -m benchmarks.study_old_images $(if $(IMAGES),--images $(IMAGES))

study-lineage: setup ## generations against every semi-supervised method, all tuned by one budget
	python -m benchmarks.study_lineage $(if $(IMAGES),--images $(IMAGES))

study-segmentation: setup ## a class for each pixel: a small student of a teacher, and alone
	python -m benchmarks.study_segmentation

study-distillation: setup ## small students by each loss, ensembles, specialists; IMAGES=<CIFAR-10> adds it
	python -m benchmarks.study_distillation $(if $(IMAGES),--images $(IMAGES))

two-moons: setup ## six labels and the moons: three methods, with a picture; then the feedback alone
	python -m benchmarks.two_moons
	python -m benchmarks.two_moons --feedback

bench: setup ## where the chain's time goes; augmentation, feeding and training steps against others
	python -m benchmarks.chain
	python -m benchmarks.prepare
	OMP_NUM_THREADS=1 python -m benchmarks.augment
	OMP_NUM_THREADS=1 python -m benchmarks.feeding
	OMP_NUM_THREADS=1 python -m benchmarks.train_step
	OMP_NUM_THREADS=1 python -m benchmarks.fixmatch_step
	OMP_NUM_THREADS=1 python -m benchmarks.meta_step

requirements: setup ## pin requirements.txt anew from pyproject.toml
	$(VENV)/bin/uv pip compile --universal --no-emit-index-url --python-version 3.11 --extra dev \
		--quiet --custom-compile-command 'make requirements' pyproject.toml -o requirements.txt

clean: setup ## remove what params.yaml no longer names, and leftovers of interrupted runs
	@python -m pipeline clean
