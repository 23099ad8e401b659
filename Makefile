# Everything people do with this repository. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# What the compiler optimises for (make profile).
PROFILE := cmd/witan/load.pgo

LINT_VERSION := 2.15.0
LINT := bin/tools/golangci-lint

# What is passed on: make run ARGS="--groups 4", make test PKG=./store
ARGS ?=
PKG  ?= ./...

# How much of the long programs `make check` runs.
SEEDS     ?= 2
REQUESTS  ?= 1500
KEYGROUPS ?= 1 4

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## run one member on 127.0.0.1:2379, its data in ./run.witan
	exec bin/witan --data-dir run.witan \
	  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
	  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 $(ARGS)

.PHONY: cluster
cluster: build ## run three members on 127.0.0.1:2379, 22379 and 32379, their data in ./cluster.witan
	exec scripts/cluster.sh $(ARGS)

.PHONY: build
build: ## build static binaries into bin/
	CGO_ENABLED=0 go build -trimpath -pgo=$(PROFILE) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: test
test: ## run the tests (PKG=./store for one package)
	go test -timeout 10m $(PKG)

.PHONY: race
race: ## run the tests with the race detector
	go test -race -timeout 15m $(PKG)

.PHONY: check
check: fmt vet lint imports conformance torture race ## all that must pass before a change goes in

.PHONY: fmt
fmt: ## list files that are not formatted (make format repairs them)
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted:" $$unformatted; exit 1; fi

.PHONY: format
format: $(LINT) ## format all files
	$(LINT) fmt

.PHONY: vet
vet: ## run go vet
	go vet ./...

.PHONY: lint
lint: $(LINT) ## run golangci-lint
	$(LINT) run

.PHONY: imports
imports: ## check which package imports which
	go test -count=1 -run 'Imports|StoreHasNoClock|PackageComments' ./cmd/witan

.PHONY: conformance
conformance: build bin/conformance ## compare with etcd 3.4, scripted and random (SEEDS=2 REQUESTS=1500 KEYGROUPS="1 4")
	for groups in $(KEYGROUPS); do \
	  bin/conformance --groups $$groups --seeds $(SEEDS) --requests $(REQUESTS) $(ARGS); \
	done

.PHONY: torture
torture: build bin/torture bin/witan-torture ## a quick round of clusters under load and faults
	bin/torture quick $(ARGS)

.PHONY: bench
bench: build bin/bench ## measure beside etcd 3.4 and an empty handler (ARGS="-write" updates docs/performance.md)
	bin/bench $(ARGS)

.PHONY: gobench
gobench: ## run the Go benchmarks (PKG=./store for one package)
	go test -run '^$$' -bench . -benchmem $(PKG)

.PHONY: rewrite
rewrite: ## rewrite the expected results of script tests; read the diff before you commit it
	go test $(sort $(dir $(shell grep -rl --include='*_test.go' '"rewrite"' store watch cluster httpapi cmd 2>/dev/null | sed 's,^,./,'))) -rewrite

.PHONY: profile
profile: bin/bench bin/witan-torture ## measure anew what the compiler optimises for
	scripts/profile.sh $(PROFILE)

.PHONY: tools
tools: $(LINT) ## install the linter into bin/tools

.PHONY: clean
clean: ## remove bin/ and the data of make run and make cluster
	rm -rf bin run.witan cluster.witan

# Programs under scripts are built each time; the go command knows what changed.
.PHONY: bin/conformance bin/torture bin/bench
bin/conformance bin/torture bin/bench: bin/%:
	go build -trimpath -o $@ ./scripts/$*

# Nothing of what -tags torture adds is in a release (docs/design.md §9).
.PHONY: bin/witan-torture
bin/witan-torture:
	CGO_ENABLED=0 go build -trimpath -pgo=$(PROFILE) -tags torture -ldflags '$(LDFLAGS)' -o $@ ./cmd/witan

$(LINT):
	@mkdir -p $(@D)
	@found=$$(command -v golangci-lint || true); \
	if [ -n "$$found" ] && "$$found" version | grep -qF "version $(LINT_VERSION) "; then \
	  ln -sf "$$found" $@; \
	else \
	  GOBIN=$(CURDIR)/$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION); \
	fi
