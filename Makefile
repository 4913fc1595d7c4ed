# `make` prints this menu. Every target does its own set-up and may be repeated.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE := build/model_store
ARCHIVE := $(STORE)/cifar10.mar
# What tests/native/fuzz.cpp runs: all but Python and threads.
KERNELS := $(filter-out csrc/bindings% csrc/thread_pool.cpp,$(wildcard csrc/*.cpp))
FUZZ_SECONDS ?= 60
GPU_OPTIONS ?=
SOAK_SECONDS ?= 3600

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup serve test test-long test-versions bench gpu soak check format sanitize fuzz arm docs archive dist clean

help: ## print this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## create .venv with everything development needs

serve: $(ARCHIVE) ## serve the CIFAR-10 model on http://127.0.0.1:8080, with a page on port 8090, until Ctrl-C
	@$(BIN)/falconet serve $(ARCHIVE) --page --image tests/images/cifar10/04-frog.png

# TorchServe's workers start at nice 10, and would wait for other tests if these ran at nice 0. Of three
# processes one usually waits for a server.
test: $(VENV)/.dev $(ARCHIVE) ## run the tests in their short form, with a real TorchServe
	@$(BIN)/python -m tests.programs
	nice -n 10 $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST)

test-long: $(VENV)/.dev ## run the tests that have a long form, in it: soak, slow clients, many examples, what is killed
	FALCONET_TESTS=long $(BIN)/pytest tests/native tests/handler/test_any_request.py tests/serving/test_openapi.py tests/serving/test_robustness.py
	FALCONET_TESTS=long $(BIN)/pytest -n 3 tests/serving/test_rollout.py tests/serving/test_chaos.py tests/serving/test_chaos_machine.py tests/serving/test_slow_model.py tests/deploy/test_container.py tests/repo/test_runbook.py tests/model/test_migration.py tests/training/test_compile.py tests/training/test_distributed.py tests/scoring tests/benchmarks/test_gpu.py

test-versions: $(VENV)/.dev ## run the tests without TorchServe with the oldest and the newest Python and torch, by uv
	$(BIN)/pip install --quiet uv
	$(BIN)/python -m tests.versions $(VERSIONS)

bench: $(VENV)/.dev ## measure serving for two minutes, beside a no-op and TorchServe's own handler
	@$(BIN)/python -m benchmarks.throughput --quick

gpu: $(VENV)/.dev ## check and measure one NVIDIA GPU in nine minutes; without one: GPU_OPTIONS='--device cpu --seconds 60'
	@$(BIN)/python -m benchmarks.gpu $(GPU_OPTIONS)

soak: $(VENV)/.dev ## load, hostile requests, deploys and killed workers for SOAK_SECONDS=3600
	@$(BIN)/python -m benchmarks.soak --seconds $(SOAK_SECONDS)

check: $(VENV)/.dev ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror csrc/*.cpp csrc/*.h tests/native/*.cpp benchmarks/preprocessing/*.cpp
	@mkdir -p build/types/falconet
	@ln -sfn "$(CURDIR)/csrc" build/types/falconet/native
	@for room in client model training handler serving scoring cli; do ln -sfn "$(CURDIR)/$$room" build/types/falconet/$$room; done
	MYPYPATH=build/types $(BIN)/mypy -p falconet

format: $(VENV)/.dev ## format Python and C++
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i csrc/*.cpp csrc/*.h tests/native/*.cpp benchmarks/preprocessing/*.cpp

# The sanitized extension is built beside the usual one, among links to its Python files. Where
# `operator new` would throw, AddressSanitizer ends the process: those tests are left out.
sanitize: $(VENV)/.dev ## run the native tests under AddressSanitizer and UBSan, the pool under TSan
	SANITIZE=1 $(BIN)/python setup.py -q build_ext --build-lib build/sanitize
	@ln -sfn "$(CURDIR)"/csrc/*.py build/sanitize/falconet/native/
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=build/sanitize \
	$(BIN)/pytest --noconftest --ignore tests/native/test_decode.py -m 'not bad_alloc' tests/native

# What is found stays in build/fuzz, and what leads to new places in build/fuzz/corpus.
fuzz: ## fuzz the implementations against each other for FUZZ_SECONDS=60
	@mkdir -p build/fuzz/corpus
	@echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' | \
	clang++ -x c++ -fsanitize=fuzzer,address,undefined -o build/fuzz/trivial - 2> build/fuzz/trivial.log || \
	{ echo 'make fuzz needs clang++ and its sanitizers; on Debian: apt-get install clang libclang-rt-14-dev'; exit 1; }
	clang++ -std=c++17 -g -O1 -Wall -Wextra -ffp-contract=off -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=undefined -fno-sanitize-coverage=trace-cmp -DFALCONET_LIBFUZZER -Icsrc \
	-o build/fuzz/fuzz tests/native/fuzz.cpp $(KERNELS)
	build/fuzz/fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=256 -len_control=0 -timeout=30 -print_final_stats=1 \
	-artifact_prefix=build/fuzz/ build/fuzz/corpus

arm: ## compare the kernels for Arm with the scalar ones, in an emulator
	@command -v aarch64-linux-gnu-g++ > /dev/null && command -v qemu-aarch64 > /dev/null || \
	{ echo 'make arm needs a cross-compiler and an emulator; on Debian: apt-get install g++-aarch64-linux-gnu qemu-user'; exit 1; }
	@mkdir -p build/arm
	aarch64-linux-gnu-g++ -std=c++17 -O3 -Wall -Wextra -ffp-contract=off -static -Icsrc -o build/arm/fuzz tests/native/fuzz.cpp $(KERNELS)
	qemu-aarch64 build/arm/fuzz

# The same folders as in the repository, so that links between the pages work.
docs: $(VENV)/.dev ## build the documentation as a website in build/site
	$(BIN)/pip install --quiet --editable '.[docs]'
	@mkdir -p build/docs/api build/types/falconet
	@ln -sfn "$(CURDIR)/docs" build/docs/docs
	@ln -sf "$(CURDIR)"/*.md build/docs/
	@ln -sfn "$(CURDIR)/csrc" build/types/falconet/native
	@ln -sfn "$(CURDIR)/client" build/types/falconet/client
	@for module in client native; do printf '# falconet.%s\n\n::: falconet.%s\n' $$module $$module > build/docs/api/$$module.md; done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

archive: $(ARCHIVE) ## export the shipped weights and pack them into a .mar

dist: $(VENV)/.dev ## build wheel and sdist into dist/
	$(BIN)/python -m build

clean: ## remove what the targets above made, but not the downloads
	rm -rf build dist *.egg-info .falconet .mypy_cache .pytest_cache .ruff_cache .hypothesis csrc/*.so $(VENV)/.built

# torch and torchvision are built for each other: installed in one go, so that they match.
$(VENV)/.core: pyproject.toml setup.py
	$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("Python 3.10 to 3.13 is needed, this is " + sys.version + "; name another with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet 'torch==2.14.*' 'torchvision==0.29.*'
	$(BIN)/pip install --quiet --editable '.[serve]'
	@touch $@ $(VENV)/.built

$(VENV)/.built: $(VENV)/.core $(wildcard csrc/*.cpp csrc/*.h)
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core $(VENV)/.built
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

$(ARCHIVE): $(VENV)/.core $(VENV)/.built $(wildcard model/*.py model/pretrained/* handler/torchserve_entry.py)
	$(BIN)/falconet archive --output $@
