# monitord: two commands do everything, "make demo" and "make test".

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/monitord/monitord/internal/cli.Version=$(VERSION)
LINT    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: build update demo test e2e soak sim check bench ha-bench fuzz clean

build: ## one static binary: bin/monitord
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/monitord ./cmd/monitord

update: ## what is written from the code: docs/configuration.md, and the copies in contrib/plugins
	go test ./cmd/monitord -run Reference -update
	go test ./contrib -run Outside -update

demo: build ## two directors in namespaces: a server dies, then a director is killed, frozen, unplugged, cut off
	bin/monitord lab -c etc/demo.toml --script etc/demo.faults

test: build ## every layer of tests, a line for each
	@sh .ci/layers

e2e: ## the tests that need the kernel's IPVS, here or in a virtual machine (RUN=regexp PKG=./folder)
	go run ./internal/kernellab/run -v $(if $(RUN),-run '$(RUN)') $(PKG)

soak: build ## random faults in namespaces, with all that is promised checked (MINUTES=n SEED=x)
	go run ./internal/soak/run -binary bin/monitord -minutes $(or $(MINUTES),10) $(if $(SEED),-seed $(SEED))

sim: ## who may hold the address, under random faults (SEEDS=n FIRST=n; SEED=x tells one story, SHRINK=1 VERBOSE=1)
	SEEDS=$(or $(SEEDS),20000) SEED=$(SEED) go test ./internal/director/sim -run '$(if $(SEED),Simulation$$,Simulation$$|Mutation)' -count=1 -v -timeout 0

check: ## vet, format and lint
	go vet ./...
	go run $(LINT) run
	cd contrib/plugins && go vet ./... && go run $(LINT) run -c ../../.golangci.yml

bench: ## figures, as ratios against a peer in the same run
	go test -run '^$$' -bench . -benchtime 2s ./...

ha-bench: build ## what clients see of every fault, beside keepalived (REPEAT=n KEEPALIVED=n LANES=n ONLY=regexp)
	go run ./internal/habench/run -binary bin/monitord -repeat $(or $(REPEAT),10) -keepalived $(or $(KEEPALIVED),3) -lanes $(or $(LANES),2) -only '$(ONLY)'

fuzz: ## every fuzz target for FUZZTIME (default 10s)
	@sh .ci/fuzz $(or $(FUZZTIME),10s)

clean:
	rm -rf bin .cache
