# Everything runs from .venv, which is set up at the first use, and again when setup.cfg or a choice below changes;
# the tests on ROS 2 Kilted have a .venv-kilted of the same kind.

PYTHON ?= python3
INPUT ?=
MINUTES ?= 20

# A sourced ROS installation is used as it is, with the OpenCV and torch that the robot brings; else ROS 2 comes from
# PyPI, where there are builds for Linux on x86-64 only.
found = $(shell $(PYTHON) -c 'import importlib.util as u; print("yes" if u.find_spec("$(1)") else "")' 2>/dev/null)
ifneq ($(ROS_DISTRO),)
ROS := $(shell $(PYTHON) -c 'import rclpy; print("sourced")' 2>/dev/null)
endif
ifeq ($(ROS),sourced)
TORCH ?= $(if $(call found,torch),,torch==2.13.0)
extras := train report dev onnx openvino $(if $(call found,cv2),,opencv)
venv_flags := --system-site-packages
else
TORCH ?= torch==2.13.0
ROS := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),wheels)
extras := train report dev onnx openvino opencv $(if $(ROS),ros)
venv_flags :=
endif

empty :=
comma := ,
VENV := .venv
TESTS ?=
bin := $(VENV)/bin
ready := $(VENV)/ready-$(shell { cat setup.cfg; echo '$(ROS) $(TORCH) $(extras)'; } | cksum | cut -d ' ' -f 1)

export INPUT
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The ROS wheels set LD_LIBRARY_PATH once per process tree; a make started from another such python must not inherit that.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

.PHONY: help demo test test-kilted lint bench soak clean
.DEFAULT_GOAL := help

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
	  printf '%-47s %s\n' "$$name" "$$what"; done
	@echo
	@echo 'make test PYTHON=python3.12                    with another Python (3.10 or newer)'
	@echo 'make test TORCH="torch==2.13.0 --index-url X"  with another build of torch; TORCH= installs none'

demo: $(ready) ## Segment a rendered drive, or INPUT=<bag, video or folder>
	@$(bin)/dcfm demo $(if $(INPUT),"$$INPUT")

test: $(ready) ## Run the tests, or TESTS=<files or folders>
	@$(bin)/python -m pytest $(TESTS)

test-kilted: ## Run the node's tests on ROS 2 Kilted from PyPI
	@$(if $(filter wheels,$(ROS)),,echo 'make test-kilted needs Linux on x86-64, and a shell without a sourced ROS' >&2; exit 1)
	@$(MAKE) --no-print-directory test VENV=.venv-kilted extras='ros-kilted opencv train report test' TESTS=test/node

lint: $(ready) ## Check style and types
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy

bench: $(ready) ## Measure latency on this machine
	@$(bin)/dcfm bench --streams 6

soak: $(ready) ## Run the node for MINUTES under everything a robot does
	@PYTHONPATH=test $(bin)/python -m soak --minutes $(MINUTES)
	@PYTHONPATH=test $(bin)/python -m soak.recording
	@FUZZ_EXAMPLES=2000 $(bin)/python -m pytest test/node/test_node_requests.py -k fuzz
	@FUZZ_EXAMPLES=2000 $(bin)/python -m pytest test/recordings/test_others_bags.py -k metadata_of_any

clean: ## Remove caches and what builds and the demo left; .venv and runs/ stay
	@rm -rf build install log dist demo_output soak_output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -path './.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is asked for errors only: its warnings are about the machine. A .venv is kept and brought up to date, except that
# one made for a sourced ROS must not find other builds of ROS inside, nor the other way round.
$(ready):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo 'dcfm_ros needs Python 3.10 or newer; name one like this: make test PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo '$(PYTHON) cannot make virtual environments; on Ubuntu and Debian: apt install python3-venv' >&2; exit 1; }
	@$(if $(ROS),,echo 'ROS 2 is neither sourced nor on PyPI for this machine: everything but the node will work' >&2)
	@grep -qs 'include-system-site-packages = $(if $(venv_flags),true,false)' $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	@echo 'Setting up $(VENV) ($(strip $(extras))), which can take some minutes the first time'
	@$(PYTHON) -m venv $(venv_flags) $(VENV)
	@rm -f $(VENV)/ready-*
	@$(if $(TORCH),$(bin)/pip install -qq $(TORCH))
	@$(bin)/pip install -qq -e '.[$(subst $(empty) ,$(comma),$(strip $(extras)))]'
	@touch $@
