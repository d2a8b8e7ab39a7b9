# Every target makes the virtual environment it needs; Python 3.11 with venv is all that must exist.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PEERS := $(VENV)/peers
FORMATS := $(VENV)/peers-formats
SAEBENCH := $(VENV)/peers-saebench
CIRCUITS := $(VENV)/peers-circuits
DASHBOARD := $(VENV)/peers-dashboard
NNSIGHT := $(VENV)/peers-nnsight
SITE := $(VENV)/site
STAMP := $(VENV)/.installed
export ISTHMUS_DATA ?= $(abspath $(wildcard ../shared/data))

.PHONY: demo test test-triton check slow fuzz bench fixtures saebench graphs dashboard nnsight docs site pictures wheel clean

demo: $(STAMP)
	$(BIN)/python -m isthmus.demo

test: check test-triton
	$(BIN)/python -m pytest -n 2

# Triton reads the variable when its programs are defined, so these tests have processes of their own:
# in the interpreter, and compiled for devices that are not there.
test-triton: $(STAMP)
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -n 2 tests/kernels/test_backends.py tests/kernels/test_triton.py
	ISTHMUS_TEST_TRITON=compile $(BIN)/python -m pytest -n 2 tests/kernels/test_triton_compiled.py

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py tests/docs -q

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# An hour: random inputs, 10,000 to the functions behind the command line and 300 to the command.
fuzz: $(STAMP)
	ISTHMUS_DATA= $(BIN)/python -m tools.fuzz --functions 10000 --commands 300 --keep fuzz

bench: $(STAMP) $(VENV)/.peers $(PEERS)/.installed
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.sparse.step_time
	$(BIN)/python -m benchmarks.sparse.time_to_fvu
	$(BIN)/python -m benchmarks.sparse.quality

$(VENV)/.peers: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pythae==0.1.2
	touch $@

# The wheels of torchvision on the index are built for CUDA and break whatever finds them beside
# a CPU torch; none of the peers' training needs it.
$(PEERS)/.installed: benchmarks/sparse/constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c $< torch==2.13.0
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c $< \
		eai-sparsify sae-lens dictionary-learning overcomplete
	$(PEERS)/bin/python -m pip uninstall --quiet --yes torchvision timm
	touch $@

# Dictionaries as other libraries write them, with what these compute, in tests/formats/fixtures:
# written in an environment of their own, in which nothing of Isthmus is imported. The last two pin
# older packages than the others need for what is not used here, so that they come without theirs.
fixtures: $(FORMATS)/.installed
	$(FORMATS)/bin/python -m tools.fixtures

$(FORMATS)/.installed: benchmarks/sparse/constraints.txt
	$(PYTHON) -m venv $(FORMATS)
	$(FORMATS)/bin/python -m pip install --quiet --disable-pip-version-check -c $< torch==2.13.0
	$(FORMATS)/bin/python -m pip install --quiet --disable-pip-version-check -c $< \
		eai-sparsify sae-lens dictionary-learning overcomplete
	$(FORMATS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		llamascopium==2.0.0b34 circuit-tracer==0.5.0 more-itertools==11.2.1
	$(FORMATS)/bin/python -m pip uninstall --quiet --yes torchvision timm
	touch $@

# SAEBench wants NumPy below 2, so that it has an environment of its own: its evaluation of
# dictionaries that are wrapped for it, beside the same measured with them as they are; and of two
# that are fitted here and come to it through SAELens.
saebench: $(STAMP) $(SAEBENCH)/.installed
	$(SAEBENCH)/bin/python -W ignore -m tools.fixtures.saebench
	$(BIN)/python -m tools.fixtures.trained
	$(SAEBENCH)/bin/python -W ignore -m tools.fixtures.evaluated

$(SAEBENCH)/.installed:
	$(PYTHON) -m venv $(SAEBENCH)
	$(SAEBENCH)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(SAEBENCH)/bin/python -m pip install --quiet --disable-pip-version-check sae-bench==0.6.0
	$(SAEBENCH)/bin/python -m pip uninstall --quiet --yes torchvision timm
	touch $@

# circuit-tracer pins an old client of the hub and an old transformers: transcoders that are fitted
# and exported here, and the graphs that it makes of them.
graphs: $(STAMP) $(CIRCUITS)/.installed
	$(BIN)/python -m tools.fixtures.traced_sets
	$(CIRCUITS)/bin/python -W ignore -m tools.fixtures.graphs

$(CIRCUITS)/.installed:
	$(PYTHON) -m venv $(CIRCUITS)
	$(CIRCUITS)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(CIRCUITS)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 \
		circuit-tracer==0.5.0
	$(CIRCUITS)/bin/python -m pip uninstall --quiet --yes torchvision timm
	touch $@

# SAEDashboard wants NumPy below 2, and what it asks for of pyarrow does not say so: pages of
# dictionaries that were written for SAELens, held against this library.
dashboard: $(DASHBOARD)/.installed
	$(DASHBOARD)/bin/python -W ignore -m tools.dashboard_latents

$(DASHBOARD)/.installed:
	$(PYTHON) -m venv $(DASHBOARD)
	$(DASHBOARD)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(DASHBOARD)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 \
		sae-dashboard==0.8.0 'pyarrow<22'
	$(DASHBOARD)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio
	touch $@

nnsight: $(NNSIGHT)/.installed
	$(NNSIGHT)/bin/python -W ignore -m tools.nnsight_points

$(NNSIGHT)/.installed:
	$(PYTHON) -m venv $(NNSIGHT)
	$(NNSIGHT)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(NNSIGHT)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 \
		nnsight==0.8.1 pydantic scikit-learn pandas
	touch $@

docs: $(STAMP)
	$(BIN)/python docs/generate.py
	$(BIN)/python -m tools.formats_table

# The documentation as a site, in site/: it works from the folder, without a network.
site: $(SITE)/.installed
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(SITE)/bin/mkdocs build --strict --quiet
	$(SITE)/bin/python tools/site/check.py site

# Tools of its own, since nothing of the package is imported to build the site.
$(SITE)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group site
	touch $@

# The pictures of pages in the README and the site; needs Chromium.
pictures: $(STAMP)
	$(BIN)/python tools/screenshots.py

wheel: $(STAMP)
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

NATIVE := $(wildcard src/isthmus/kernels/native/*.[ch]) hatch_build.py

$(STAMP): pyproject.toml constraints.txt $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo site .mypy_cache .ruff_cache .pytest_cache .hypothesis
