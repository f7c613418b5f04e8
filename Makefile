# Tasks. `make help` lists them; `make` is what CI runs.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := all

# The race detector needs a C compiler; without one the tests run without it.
RACE := $(shell command -v cc >/dev/null 2>&1 && echo -race)
export CGO_ENABLED := $(if $(RACE),1,0)
TESTFLAGS ?= -timeout 15m
FUZZTIME ?= 2s
BENCHTIME ?= 1s
COUNT ?= 5
TOOL = go tool -modfile=tools/go.mod
GO_FILES = $(shell git ls-files -co --exclude-standard '*.go')

.PHONY: all help build test race short vet lint fix fuzz soak microbench bench bench-quick bench-test vectors e2e cover tidy clean verify vulncheck sbom reproducible

all: test ## what CI runs

help: ## list the tasks
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The same sources, Go version and platform make the same bytes, wherever they are: no C,
# no paths, and of the repository what it is at.
BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=auto

build: ## build ./bin/busd
	$(BUILD) -o bin/busd ./cmd/busd

# Hostile clients measure time and memory, and so run alone.
ALONE = ./daemon/internal/hostile
# Faults, storms and attacks keep time, and histories want many: without the race detector.
TIMED = ./test/fault ./test/hostile ./test/model ./test/storm
listed = $(subst $() $(),|,$(patsubst ./%,busd/%$$,$(1)))

test: vet verify ## all tests: race detector if a C compiler is there, vectors, e2e, a short fuzz of every target
	go test $(RACE) $(TESTFLAGS) $$(go list ./... | grep -vE '$(call listed,$(ALONE) $(TIMED))')
	go test $(RACE) $(TESTFLAGS) $(ALONE)
	CGO_ENABLED=0 go test -p 1 $(TESTFLAGS) $(TIMED)
	@$(MAKE) --no-print-directory fuzz

race: ## all tests with the race detector, three times
	CGO_ENABLED=1 go test -race -count=3 $(TESTFLAGS) ./...

short: ## the quick tests
	go test -short ./...

vet: ## go vet, and nothing that gofmt would change
	go vet ./...
	@unformatted="$$(gofmt -l $(GO_FILES))"; if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi

lint: ## golangci-lint with our list (builds the tool the first time: some minutes)
	$(TOOL) golangci-lint run ./...

fix: ## format, and fix what the linters can
	$(TOOL) gofumpt -w $(GO_FILES)
	$(TOOL) golangci-lint run --fix ./...

# Go runs one fuzz target at a time; minimising for a minute looks like a hang. At the
# end of its time a worker may be late, and go test takes that for a failure
# ("context deadline exceeded" without an input): then it runs once more.
fuzz: ## every fuzz target for FUZZTIME (2s each; make fuzz FUZZTIME=1h for long)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' "$$file"); do \
			echo "fuzz $$(dirname "$$file") $$target"; \
			try() { CGO_ENABLED=0 go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x "$$(dirname "$$file")" 2>&1; }; \
			if ! said="$$(try)"; then \
				case "$$said" in \
				*"Failing input"*) echo "$$said"; exit 1 ;; \
				*"context deadline exceeded"*) said="$$(try)" || { echo "$$said"; exit 1; } ;; \
				*) echo "$$said"; exit 1 ;; \
				esac; \
			fi; \
			echo "$$said" | grep -vE '^(fuzz: elapsed|PASS|warning)'; \
		done; \
	done

soak: ## a million histories of sessions, thousands of the whole stack, every fault: hours
	CGO_ENABLED=0 go test -count=1 -timeout 6h ./internal/session -run TestModel -histories 1000000
	CGO_ENABLED=0 go test -count=1 -timeout 12h ./internal/link -run TestModel -histories 1000000
	CGO_ENABLED=0 go test -count=1 -timeout 6h ./test/model -histories 20000
	BUSD_SOAK=1 CGO_ENABLED=0 go test -count=1 -timeout 6h ./test/fault ./test/storm

microbench: ## the Go benchmarks, COUNT times each, for benchstat
	CGO_ENABLED=0 go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -count $(COUNT) ./internal/... ./access ./rpc/... ./msgbus

# busd and its peers are a module of their own: what they need never reaches who imports busd.
bench: ## busd and its peers, the same work side by side, into docs/performance.md: more than an hour
	cd bench && CGO_ENABLED=0 go run . -marks -json results.json -markdown ../docs/performance.md -svg ../docs/performance

bench-quick: ## the same in small: about two minutes
	cd bench && CGO_ENABLED=0 go run . -quick -marks

bench-test: ## the tests of that
	cd bench && go vet . && CGO_ENABLED=0 go test $(TESTFLAGS) .

vectors: ## rewrite what we say in test/vectors; read the diff before you commit it
	go test ./test/vectors -update

e2e: ## the built binary and clients in other languages, over real sockets
	go test -count=1 ./cmd/... ./daemon/... ./test/e2e/...

cover: ## coverage of all packages
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -func=coverage.out | tail -1

verify: ## what was downloaded is what go.sum says
	@go mod verify

# Its exit code is 3 for vulnerabilities, and another one where it could not look.
vulncheck: ## known vulnerabilities in what the program calls; needs vuln.go.dev
	@code=0; $(TOOL) govulncheck ./... || code=$$?; case $$code in \
		0|3) ;; \
		*) echo "vulncheck: NOTHING WAS CHECKED: govulncheck could not run, or its database (GOVULNDB, else vuln.go.dev) cannot be reached from here" >&2 ;; \
	esac; exit $$code

sbom: build ## what ./bin/busd is made of, as CycloneDX, into ./bin/busd.cdx.json
	go run ./test/supply/sbom bin/busd > bin/busd.cdx.json

reproducible: ## build twice, in other directories and from nothing, and compare: some minutes
	@dir="$$(mktemp -d)"; trap 'chmod -R u+w "$$dir"; rm -rf "$$dir"' EXIT; \
	mkdir -p "$$dir/a/sources" "$$dir/b/elsewhere"; \
	git ls-files -co --exclude-standard -z | xargs -0 cp --parents -t "$$dir/a/sources" 2>/dev/null || true; \
	cp -r "$$dir/a/sources" "$$dir/b/elsewhere/sources"; \
	for one in a b/elsewhere; do (cd "$$dir/$$one/sources" && GOCACHE="$$dir/$$one/cache" $(BUILD) -o ../busd ./cmd/busd); done; \
	sha256sum "$$dir/a/busd" "$$dir/b/elsewhere/busd"; cmp "$$dir/a/busd" "$$dir/b/elsewhere/busd" && echo "the same"

tidy: ## go mod tidy, and check what was downloaded
	go mod tidy
	cd tools && go mod tidy
	go mod verify

clean: ## remove what was built
	rm -rf bin coverage.out
