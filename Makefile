# Every target does its own set-up. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

CARGO  ?= cargo
LOCKED ?=
PREFIX ?= /usr/local
DESTDIR ?=
# The program that makes sure that Debian packages are there; SETUP=true on other systems.
SETUP  ?= tests/setup

TARGET_DIR := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
RELEASE    := $(TARGET_DIR)/release
# Tools that cargo builds once; those on the PATH come first.
TOOLS      := $(CURDIR)/target/tools
export PATH := $(PATH):$(TOOLS)/bin

# Debian packages: what compiles, what `make demo` runs, what the tests and the benchmark run besides.
BUILD_PACKAGES := gcc libc6-dev pkg-config libtss2-dev libpcsclite-dev
DEMO_PACKAGES  := $(BUILD_PACKAGES) softhsm2 openssl
# A virtual PIV card: the daemon and the driver of its reader, and clients that take it for a card.
PIV_PACKAGES   := mount pcscd libpcsclite-dev vsmartcard-vpcd opensc opensc-pkcs11 pcsc-tools yubico-piv-tool yubikey-manager ykcs11 scdaemon gnupg
TEST_PACKAGES  := $(DEMO_PACKAGES) p11-kit p11-kit-modules age swtpm swtpm-tools tpm2-tools tpm2-openssl $(PIV_PACKAGES)
# A real key, beside the virtual card.
KEY_PACKAGES   := openssl pcscd pcsc-tools yubico-piv-tool
BENCH_PACKAGES := $(DEMO_PACKAGES) p11-kit p11-kit-modules swtpm tpm2-tools mount pcscd vsmartcard-vpcd
FUZZ_PACKAGES  := $(BUILD_PACKAGES) g++

CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2

BINS := keyward keywardd keyward-worker

.PHONY: help
help: ## print this list
	@echo 'keyward: make TARGET'
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile | expand -t 16

.PHONY: build
build: ## build the programs (release)
	@$(SETUP) $(BUILD_PACKAGES)
	$(CARGO) build $(LOCKED) --release --bin keywardd --bin keyward-worker --bin keyward

.PHONY: demo
demo: ## do the main job on a token of its own, and show it
	@$(SETUP) $(DEMO_PACKAGES)
	$(CARGO) build $(LOCKED) --release --bin keywardd --bin keyward-worker --bin keyward
	tests/demo

.PHONY: test
test: ## run every test
	@$(SETUP) $(TEST_PACKAGES)
	$(CARGO) build $(LOCKED) --workspace --all-targets
	$(CARGO) test $(LOCKED) --workspace --all-targets
	$(CARGO) test $(LOCKED) --workspace --doc

.PHONY: bench
bench: ## measure; BENCH=NAME for one of them
	@$(SETUP) $(BENCH_PACKAGES)
	$(CARGO) build $(LOCKED) --release --bin keywardd --bin keyward-worker --bin keyward
	$(CARGO) run $(LOCKED) --release -p keyward-tests --bin bench -- $(BENCH)

.PHONY: lint
lint: ## check format, clippy, documentation, licences and sources
	@$(SETUP) $(BUILD_PACKAGES)
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --no-deps --workspace
	@$(call tool,cargo-deny,$(CARGO_DENY_VERSION))
	cargo-deny $(LOCKED) check --hide-inclusion-graph bans licenses sources

.PHONY: audit
audit: ## look for published advisories (needs the network)
	@$(SETUP) $(BUILD_PACKAGES)
	@$(call tool,cargo-deny,$(CARGO_DENY_VERSION))
	cargo-deny check advisories

.PHONY: fuzz
fuzz: ## fuzz one TARGET for SECONDS (60)
	@test -n "$(TARGET)" || { \
	    echo "keyward: error: no fuzz target named" >&2; \
	    echo "hint: make fuzz TARGET=NAME SECONDS=60, where NAME is one of:" $$(ls tests/fuzz/fuzz_targets 2>/dev/null | sed 's/\.rs$$//') >&2; exit 2; }
	@$(SETUP) $(FUZZ_PACKAGES)
	@$(call tool,cargo-fuzz,$(CARGO_FUZZ_VERSION))
	cargo-fuzz run --fuzz-dir tests/fuzz --sanitizer none "$(TARGET)" -- -max_total_time=$(or $(SECONDS),60)

.PHONY: hardware-piv
hardware-piv: ## compare a YubiKey with the virtual card; it is EMPTIED. ARGS=--help
	@$(SETUP) $(KEY_PACKAGES)
	tests/hardware-piv $(ARGS)

# keywardd looks for keyward-worker beside itself, then in ../libexec/keyward.
bindir     := $(DESTDIR)$(PREFIX)/bin
libexecdir := $(DESTDIR)$(PREFIX)/libexec/keyward
mandir     := $(DESTDIR)$(PREFIX)/share/man
libdir     := $(DESTDIR)$(PREFIX)/lib
datadir    := $(DESTDIR)$(PREFIX)/share
bash_file  := $(datadir)/bash-completion/completions/keyward
zsh_file   := $(datadir)/zsh/site-functions/_keyward
fish_file  := $(datadir)/fish/vendor_completions.d/keyward.fish
man_pages  := $(wildcard docs/man/*.1 docs/man/*.5 docs/man/*.7 docs/man/*.8)
units      := $(wildcard systemd/system/* systemd/user/*)
dropins    := $(wildcard systemd/sysusers.d/*.conf systemd/tmpfiles.d/*.conf)
rules      := $(wildcard udev/*.rules)
# polkit reads /usr/local/share from version 124 on only.
polkitdir  := $(DESTDIR)$(if $(filter /usr,$(PREFIX)),/usr/share,/etc)/polkit-1/rules.d
polkit     := $(wildcard polkit/*.rules)

.PHONY: install
install: $(BINS:%=$(RELEASE)/%) ## install what `make build` built, below PREFIX
	install -D -m 0755 $(RELEASE)/keyward $(bindir)/keyward
	install -D -m 0755 $(RELEASE)/keywardd $(bindir)/keywardd
	install -D -m 0755 $(RELEASE)/keyward-worker $(libexecdir)/keyward-worker
	$(call completions,bash,$(bash_file))
	$(call completions,zsh,$(zsh_file))
	$(call completions,fish,$(fish_file))
	$(if $(man_pages),$(foreach page,$(man_pages),install -D -m 0644 $(page) $(mandir)/man$(patsubst .%,%,$(suffix $(page)))/$(notdir $(page)) &&) true)
	$(if $(units),$(foreach unit,$(units),install -D -m 0644 $(unit) $(libdir)/$(unit) &&) true)
	$(if $(dropins),$(foreach file,$(dropins),install -D -m 0644 $(file) $(libdir)/$(file:systemd/%=%) &&) true)
	$(if $(rules),$(foreach file,$(rules),install -D -m 0644 $(file) $(libdir)/$(file:udev/%=udev/rules.d/%) &&) true)
	$(if $(polkit),$(foreach file,$(polkit),install -D -m 0644 $(file) $(polkitdir)/$(notdir $(file)) &&) true)

.PHONY: uninstall
uninstall: ## remove what `make install` installed
	rm -f $(bindir)/keyward $(bindir)/keywardd $(libexecdir)/keyward-worker $(bash_file) $(zsh_file) $(fish_file)
	$(if $(man_pages),$(foreach page,$(man_pages),rm -f $(mandir)/man$(patsubst .%,%,$(suffix $(page)))/$(notdir $(page)) &&) true)
	$(if $(units),$(foreach unit,$(units),rm -f $(libdir)/$(unit) &&) true)
	$(if $(dropins),$(foreach file,$(dropins),rm -f $(libdir)/$(file:systemd/%=%) &&) true)
	$(if $(rules),$(foreach file,$(rules),rm -f $(libdir)/$(file:udev/%=udev/rules.d/%) &&) true)
	$(if $(polkit),$(foreach file,$(polkit),rm -f $(polkitdir)/$(notdir $(file)) &&) true)
	rmdir $(libexecdir) 2>/dev/null || true

$(BINS:%=$(RELEASE)/%):
	@$(MAKE) build

.PHONY: clean
clean: ## remove what was built (not the tools)
	$(CARGO) clean --workspace

# $(call completions,SHELL,FILE): what teaches a shell, readable by all.
completions = install -D -m 0644 /dev/null $(2) && $(RELEASE)/keyward completions $(1) >$(2)

# $(call tool,NAME,VERSION): builds a cargo tool once, unless it is on the PATH.
tool = command -v $(1) >/dev/null 2>&1 || { \
    echo "keyward: $(1) is not on the PATH: building version $(2) of it once, in target/tools"; \
    $(CARGO) install --locked --quiet --root "$(TOOLS)" --target-dir "$(TOOLS)/build" --version $(2) $(1) && rm -rf "$(TOOLS)/build"; }
