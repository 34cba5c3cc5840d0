# SPDX-License-Identifier: MIT
# The front door; Meson and Ninja do the work. Everything that is built lies under build/.
#   make               build the library, the command and the tests (build/gcc)
#   make test          set up, build with gcc and clang, run the suite plain and under the sanitizers
#   make demo          set up, build, and run the demonstration
#   make demo-engines  a virtual and a physical node side by side: a table, build/demo-output/engines.png
#   make demo-tiles    a texture 102 times its pool, remapped between draws: pictures in build/demo-tiles
#   make demo-iommu    the GPU uses the program's own pointers, also into memory that goes away
#   make compare       GpuMmu, IoMmu and physical addresses: figures and picture, written to docs/compare
#   make bench         measure; writes build/bench.json and prints a table
#   make requirements  which rows of docs/requirements.tsv are proven; MISSING=1 the rest and why, BREAK=1 breaks each
#   make sanitize      only the sanitizer builds of the suite
#   make install       DESTDIR, PREFIX;   make clean
#   NO_INSTALL=1       with any of these: only check for missing packages, install nothing
B := build
PREFIX ?= /usr/local
RELEASE := --buildtype=release -Dtest_hooks=false -Db_lto=true

#   make quick         only the gcc build and its suite, without the protocol models
.PHONY: all help test quick demo demo-engines demo-tiles demo-iommu compare bench requirements sanitize release install clean
.NOTPARALLEL:

all:
	@tools/setup.sh build
	@tools/run-tests.py --build-only gcc

help:
	@sed -n 's/^#   //p' Makefile

test:
	@tools/setup.sh test
	@VIDMM_PROTOCOL=1 tools/run-tests.py gcc clang asan tsan

quick:
	@tools/setup.sh build
	@tools/run-tests.py gcc

sanitize:
	@tools/setup.sh test
	@tools/run-tests.py asan tsan

release:
	@meson setup $$(test ! -f $(B)/release/build.ninja || echo --reconfigure) $(B)/release . $(RELEASE) -Dskip=tests
	@meson compile -C $(B)/release

demo:
	@tools/setup.sh demo
	@$(MAKE) --no-print-directory release
	@demo/run.sh $(B)/release

demo-tiles:
	@tools/setup.sh demo-tiles
	@$(MAKE) --no-print-directory release
	@mkdir -p $(B)/demo-tiles
	@$(B)/release/demo/tiles $(B)/demo-tiles && echo "pictures: $(B)/demo-tiles"

demo-iommu:
	@tools/setup.sh demo-iommu
	@$(MAKE) --no-print-directory release
	@$(B)/release/demo/iommu

compare:
	@tools/setup.sh compare
	@$(MAKE) --no-print-directory release
	@demo/compare.sh $(B)/release docs/compare

demo-engines:
	@tools/setup.sh demo-engines
	@$(MAKE) --no-print-directory release
	@demo/engines.sh $(B)/release $(B)/demo-output

bench:
	@tools/setup.sh build
	@$(MAKE) --no-print-directory release
	@$(B)/release/bench/vidmm-bench $(B)/bench.json

requirements:
	@tools/setup.sh build
	@tools/run-tests.py --quiet gcc; failed=$$?; \
	 tools/requirements.py $(if $(MISSING),--missing) $(if $(BREAK),--break) && exit $$failed

install:
	@tools/setup.sh build
	@test -f $(B)/install/build.ninja || meson setup $(B)/install . $(RELEASE) -Dskip=tests,bench,demo
	@meson configure $(B)/install --prefix=$(PREFIX)
	@meson install -C $(B)/install $(if $(DESTDIR),--destdir=$(abspath $(DESTDIR)))

clean:
	rm -rf $(B)
