# `make demo` and `make test` need Python >= 3.11, make and git; nothing else, and no GL library.

PYTHON ?= python3
PIP_FLAGS ?=
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Nothing here draws with OpenGL, and a MUJOCO_GL without its library crashes `import mujoco`.
export MUJOCO_GL := disable
# Every worker of a parallel run has one core: more threads only get into each other's way.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo world test test-fast lint format constraints clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo "Variables: PYTHON=$(PYTHON)  PIP_FLAGS='$(PIP_FLAGS)'  JOBS=$(JOBS)"
	@echo "Without a GPU, spare yourself several GB of CUDA:"
	@echo "  make demo PIP_FLAGS='--extra-index-url https://download.pytorch.org/whl/cpu'"

install: $(STAMP)  ## make .venv with the pinned versions (done for you by demo and test)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; try: make PYTHON=python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt torch
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## let a planner play, record every task and write outputs/demo/index.html
	$(BIN)/sfvgen demo

# The shipped world: what it saw, how long it was trained. Every step goes on where it was killed. A policy that was tempted by
# what the world said of rewards is recorded, so that the world learns what such ways are worth.
RUN ?= outputs/world-run
PRECISION ?= bf16
SETS := reach push_cube push_sweep cube_return cube_sweep lane_keep route_return
NOISE := $(addsuffix _noise,$(SETS))
ENDS := reach_wander reach_short
HABITS := reach reach_short reach_habits push_cube push_cube_habits cube_return lane_keep route_return
THINGS := reach_short push_cube push_sweep cube_return cube_sweep reach_looks push_cube_looks cube_return_looks
comma := ,
empty :=
list = [$(subst $(empty) $(empty),$(comma),$(addprefix $(RUN)/data/,$(1)))]
record = $(BIN)/sfvgen collect task=$(1) episodes=$(2) out=$(RUN)/data/$(3) seed=$(4) camera=$(5) workers=$(JOBS) \
  length=$(or $(7),medium) steps=$(or $(8),null) 'behaviour=$(or $(6),{mixed:3$(comma)expert:1$(comma)phrases:1})'
train = $(BIN)/sfvgen train latents=$(RUN)/latents precision=$(PRECISION)

world: $(STAMP)  ## record, train and pack the world that comes with the package (hours)
	$(call record,reach,2000,reach,1,fixed)
	$(call record,push_cube,700,push_cube,1,fixed)
	$(call record,push_cube,200,push_sweep,3,sweep)
	$(call record,cube_return,370,cube_return,1,fixed)
	$(call record,cube_return,200,cube_sweep,3,sweep)
	$(call record,lane_keep,500,lane_keep,1,fixed)
	$(call record,route_return,250,route_return,1,fixed)
	$(call record,reach,3300,reach_noise,5,fixed,random)
	$(call record,push_cube,400,push_cube_noise,5,fixed,random)
	$(call record,push_cube,60,push_sweep_noise,5,sweep,random)
	$(call record,cube_return,60,cube_return_noise,5,fixed,random)
	$(call record,cube_return,60,cube_sweep_noise,5,sweep,random)
	$(call record,lane_keep,100,lane_keep_noise,5,fixed,random)
	$(call record,route_return,60,route_return_noise,5,fixed,random)
	$(call record,reach,500,reach_wander,6,fixed,wander)
	$(call record,reach,400,reach_short,7,fixed,{mixed:2$(comma)expert:1$(comma)phrases:1$(comma)wander:1},short)
	$(BIN)/sfvgen train-codec 'data=$(call list,$(SETS))' out=$(RUN)/codec steps=7000
	$(train) 'data=$(call list,$(SETS) $(NOISE))' codec=$(RUN)/codec out=$(RUN)/world steps=20000
	$(train) 'data=$(call list,$(SETS) $(NOISE))' init=$(RUN)/world/world out=$(RUN)/heads steps=1400 rate=0.0015 learn=heads
	$(train) 'data=$(call list,$(SETS) $(NOISE))' init=$(RUN)/heads/world out=$(RUN)/poses steps=2000 rate=0.001 learn=poses
	$(train) 'data=$(call list,$(SETS) $(NOISE) $(ENDS))' init=$(RUN)/poses/world out=$(RUN)/outcomes steps=1400 rate=0.0012 learn=outcomes
	$(BIN)/sfvgen rl task=reach algo=sac 'observe=[pose,goal]' steps=6000 evaluate=0 seed=1000 world=$(RUN)/outcomes/world out=$(RUN)/rl
	$(call record,reach,270,reach_policy,8,fixed,$(RUN)/rl/policy.zip,short)
	$(train) 'data=$(call list,$(SETS) $(NOISE) $(ENDS) reach_policy)' init=$(RUN)/outcomes/world out=$(RUN)/tempted steps=600 rate=0.0012 learn=outcomes
	$(train) 'data=$(call list,lane_keep lane_keep_noise)' init=$(RUN)/tempted/world out=$(RUN)/ahead steps=5000 rate=0.0015 learn=ahead
	$(call record,push_cube,1500,push_cube_habits,9,fixed,{mixed:2$(comma)expert:1},short)
	$(call record,reach,2000,reach_habits,9,fixed,{mixed:2$(comma)expert:1},short)
	$(train) 'data=$(call list,$(HABITS))' init=$(RUN)/ahead/world out=$(RUN)/habits steps=5000 batch=20 rate=0.0015 learn=habits
	$(call record,reach,4000,reach_looks,10,fixed,{random:1$(comma)wander:2$(comma)phrases:1},short,6)
	$(call record,push_cube,1500,push_cube_looks,10,fixed,{random:1$(comma)wander:1$(comma)mixed:1},short,6)
	$(call record,cube_return,1500,cube_return_looks,10,fixed,{wander:1$(comma)mixed:1},long,6)
	$(train) 'data=$(call list,$(THINGS))' init=$(RUN)/habits/world out=$(RUN)/things steps=9000 batch=8 learn=things
	$(BIN)/sfvgen pack world=$(RUN)/things/world out=sfvgen_planner/pretrained/world

test: lint  ## lint, then every test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-fast: $(STAMP)  ## the tests that take no more than a few seconds
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

lint: $(STAMP)  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## let ruff rewrite the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

constraints: $(STAMP)  ## write constraints.txt anew from .venv
	@{ head -1 constraints.txt; \
	   $(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude wheel | sed 's/+cpu$$//; s/ //g' | sort -f; \
	 } > constraints.new && mv constraints.new constraints.txt

clean:  ## remove caches and builds (never .venv or outputs/)
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
