# Everything is built from the Go module proxy and Debian packages. Tools are pinned by a go.mod of their own under
# hack/tools and land in bin/; the product's go.mod knows none of them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

GO ?= go
BIN := $(CURDIR)/bin

# CLUSTER=current takes the cluster that KUBECONFIG names, CLUSTER=kind makes one with kind where Docker is there;
# the default builds and runs its own.
CLUSTER ?= local
export CLUSTER
# The local cluster's files, as hack/cluster knows them: kubeconfig, path/ (kubectl), assets/ (for API tests).
CLUSTER_DIR := $(or $(CHAPERONE_CLUSTER_DIR),$(CURDIR)/.cluster)
ifneq ($(CLUSTER),current)
export KUBECONFIG := $(CLUSTER_DIR)/kubeconfig
endif
export PATH := $(BIN):$(CLUSTER_DIR)/path:$(PATH)

# With netgo and osusergo a static program needs no C library at run time. Tests use the same tags, so that both
# share one build cache.
TAGS := netgo,osusergo
export CGO_ENABLED := 1
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS = -s -w -X main.version=$(VERSION)
STATIC := -linkmode external -extldflags "-static"

NAMESPACE ?= chaperone-system
IMAGE_PREFIX ?= localhost/chaperone
IMAGE_TAG ?= dev
# Further arguments for helm: make deploy HELM_ARGS='--values mine.yaml'
HELM_ARGS ?=
# How long each fuzz target runs: make fuzz FUZZTIME=1m
FUZZTIME ?= 10s
# Further arguments for go test: make test-unit TEST_ARGS='-run TestDecide -v'
TEST_ARGS ?=

CLUSTER_COMMAND := $(GO) -C hack/cluster run .
GO_PACKAGES = $(GO) list -tags $(TAGS) ./...
UNIT_PACKAGES = $$($(GO_PACKAGES) | grep -v -e /test/api -e /test/e2e -e /test/evasion -e /test/page)

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "; printf "make TARGET\n"} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z][a-z0-9-]*:.*## / {printf "  %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: ## Build a cluster, install Chaperone, watch an agent work, be refused, wait and be recorded. KEEP=1 keeps it.
	$(GO) run -tags $(TAGS) ./test/demo

##@ Build

.PHONY: build operator sidecar when script kubectl-chaperone
build: operator sidecar when script kubectl-chaperone ## Build bin/operator, bin/sidecar, bin/when, bin/script and the plugin, static so that they need no C library.
# Go knows what is stale; make does not.
operator sidecar: %:
	$(GO) build -tags $(TAGS) -ldflags '$(LDFLAGS) $(STATIC)' -o $(BIN)/$@ ./cmd/$@
when script:
	CGO_ENABLED=0 $(GO) build -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/$@ ./cmd/$@
kubectl-chaperone:
	$(GO) build -tags $(TAGS) -ldflags '$(LDFLAGS) $(STATIC)' -o $(BIN)/$@ ./cmd/$@
	@install -m 0755 cmd/kubectl-chaperone/kubectl_complete-chaperone $(BIN)/

# Where a release would be found.
KREW_URI ?= https://github.com/chaperone-dev/chaperone/releases/download/$(VERSION)

.PHONY: krew
krew: kubectl-chaperone ## Make dist/chaperone.yaml and an archive of the plugin for krew, for this machine's kind.
	@mkdir -p dist; os=$$($(GO) env GOOS) arch=$$($(GO) env GOARCH); archive=kubectl-chaperone-$$os-$$arch.tar.gz; \
	tar -czf dist/$$archive --owner=0 --group=0 -C $(BIN) kubectl-chaperone kubectl_complete-chaperone -C $(CURDIR) LICENSE; \
	sum=$$(sha256sum dist/$$archive | cut -d' ' -f1); version=$(VERSION); case $$version in v[0-9]*) ;; *) version=v0.0.0-$$version;; esac; \
	sed -e '/^#/d' -e "s|VERSION|$$version|g; s|PLATFORM|$$os|; s|ARCH|$$arch|; s|URI|$(KREW_URI)/$$archive|; s|SHA256|$$sum|" \
		config/krew/chaperone.yaml >dist/chaperone.yaml; echo "dist/chaperone.yaml dist/$$archive"

.PHONY: krew-check
krew-check: krew bin/krew ## Have krew itself check that manifest and install the archive, into a folder of its own.
	@root=$$(mktemp -d); trap 'rm -rf "$$root"' EXIT; mkdir -p "$$root/index/default"; \
	KREW_ROOT=$$root KREW_NO_UPGRADE_CHECK=1 PATH="$$root/bin:$(BIN):$$PATH" $(BIN)/krew install \
		--manifest=dist/chaperone.yaml --archive=dist/kubectl-chaperone-$$($(GO) env GOOS)-$$($(GO) env GOARCH).tar.gz; \
	test "$$("$$root/bin/kubectl-chaperone" version)" = "$(VERSION)"; echo "krew installed kubectl chaperone $(VERSION)"

.PHONY: clean
clean: ## Remove what was built, except the local cluster's files (make cluster-clean).
	rm -rf $(BIN) dist

##@ Develop

.PHONY: generate
generate: bin/controller-gen ## Write everything that is generated: deep copies, definitions, RBAC, webhooks, chart, gRPC.
	$(BIN)/controller-gen object paths=./api/...
	$(BIN)/controller-gen crd paths=./api/... output:crd:dir=config/crd/bases
	$(BIN)/controller-gen rbac:roleName=chaperone-operator webhook 'paths={./controllers/...,./webhook/...,./cmd/operator}' \
		output:rbac:dir=config/rbac output:webhook:dir=config/webhook
	$(GO) run -tags $(TAGS) ./hack/generate
	$(GO) -C hack/protogen run .

GENERATED := api/v1alpha1/zz_generated.deepcopy.go config/crd/bases config/rbac config/webhook \
	charts/chaperone/templates/generated sidecar/control/controlpb

.PHONY: verify-generated
verify-generated: ## Fail if `make generate` would change anything.
	@before=$$(mktemp -d); trap 'rm -rf "$$before"' EXIT; cp -a --parents $(GENERATED) "$$before"; \
	$(MAKE) generate >/dev/null; \
	for path in $(GENERATED); do diff -ru "$$before/$$path" "$$path" || stale=yes; done; \
	if [ "$${stale:-}" ]; then echo "generated files were stale: they are written anew, commit them" >&2; exit 1; fi; \
	echo "generated files are up to date"

.PHONY: fmt
fmt: ## Format the Go code.
	gofmt -w $$(git ls-files --cached --others --exclude-standard '*.go' | grep -v -e zz_generated -e '\.pb\.go$$')

.PHONY: vet
vet: ## Run go vet.
	$(GO) vet -tags $(TAGS) ./...

.PHONY: vet-darwin
vet-darwin: ## Compile for macOS what the sidecar has for other systems than Linux.
	hack/vet-darwin ./sidecar/postgres

.PHONY: lint
lint: bin/golangci-lint bin/govulncheck bin/helm ## Run golangci-lint, govulncheck and helm lint.
	$(BIN)/golangci-lint run
	$(BIN)/golangci-lint fmt --diff
	$(BIN)/helm lint --quiet --strict charts/chaperone
	@# Needs the vulnerability database: GOVULNDB names another where vuln.go.dev cannot be reached.
	$(BIN)/govulncheck -tags $(TAGS) ./...

##@ Test

.PHONY: test
test: ## Run every test, the fastest first; builds a cluster for the last of them.
	@hack/phases test-unit verify-generated test-evasion test-api test-e2e

# Some tests run a real PostgreSQL out of Debian packages. A fresh machine has no lists of them, or lists so old that
# the mirror has moved on.
.PHONY: package-lists
package-lists:
	@ls $(CLUSTER_DIR)/postgres/*/complete >/dev/null 2>&1 || [ "$$(id -u)" != 0 ] || apt-get -qq update || \
		echo "the package lists could not be fetched anew; going on with those that are there" >&2

.PHONY: test-unit
test-unit: package-lists ## Test all packages that need no cluster and no API server.
	@{ $(GO) test -tags $(TAGS) $(TEST_ARGS) $(UNIT_PACKAGES); \
		$(GO) -C hack/cluster test $(TEST_ARGS) ./...; \
		$(GO) -C hack/protogen test $(TEST_ARGS) ./...; } | grep -v 'no test files'

.PHONY: test-evasion
test-evasion: package-lists assets ## Attack the sidecar as an adversary would, against real servers.
	KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/assets $(GO) test -p 1 -tags $(TAGS) -timeout 20m $(TEST_ARGS) ./test/evasion/...

.PHONY: test-race
test-race: package-lists ## Run the unit tests with the race detector.
	$(GO) test -race -tags $(TAGS) $(TEST_ARGS) $(UNIT_PACKAGES)

.PHONY: test-page
test-page: package-lists ## Open the HTML pages of recordings in a real headless Chromium; the first time it may download one.
	$(GO) test -tags $(TAGS) ./test/page/... $(TEST_ARGS)

# Suites name each spec as it runs; one at a time, because a suite starts servers of its own.
SUITE := [ -t 1 ] || export GINKGO_NO_COLOR=true;
SPECS := -ginkgo.v

.PHONY: test-api
test-api: assets ## Test against a real API server and etcd.
	$(SUITE) KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/assets $(GO) test -p 1 -tags $(TAGS) -timeout 20m -v $(TEST_ARGS) ./test/api/... $(SPECS)

.PHONY: test-s3
test-s3: assets bin/versitygw ## Test what keeps recordings against a real S3 server: stores, two replicas, outages. Not part of make test.
	CHAPERONE_S3_SERVER=$(BIN)/versitygw $(GO) test -tags $(TAGS) -count=1 $(TEST_ARGS) ./controllers/archive
	$(SUITE) CHAPERONE_S3_SERVER=$(BIN)/versitygw KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/assets $(GO) test -tags $(TAGS) -count=1 -timeout 20m -v \
		$(TEST_ARGS) ./test/api/operator $(SPECS) -ginkgo.label-filter=s3

.PHONY: test-outage
test-outage: assets bin/versitygw ## Take the bucket away for ten minutes while sidecars record and replicas are replaced (CHAPERONE_OUTAGE=1m for less).
	$(SUITE) CHAPERONE_S3_SERVER=$(BIN)/versitygw KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/assets $(GO) test -tags $(TAGS) -count=1 -timeout 45m -v \
		$(TEST_ARGS) ./test/api/operator $(SPECS) -ginkgo.label-filter=outage

.PHONY: measure-search
measure-search: assets ## Measure kubectl chaperone recordings --command over 2,000 recordings, through a real API server (SEARCH=500 for less).
	$(SUITE) CHAPERONE_SEARCH_RECORDINGS=$(or $(SEARCH),2000) KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/assets $(GO) test -tags $(TAGS) -count=1 -timeout 45m -v \
		$(TEST_ARGS) ./test/api/plugin $(SPECS) -ginkgo.focus='many recordings'

# The operator's own program, in a process that can be killed and measured.
OPERATOR_SUITE = $(SUITE) CHAPERONE_OPERATOR=$(BIN)/operator KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/assets $(GO) test -tags $(TAGS) -count=1 -timeout 60m -v \
	$(TEST_ARGS) ./test/api/operator $(SPECS)

.PHONY: chaos
chaos: assets operator ## Kill sidecars and the operator at random points of 1,000 sessions; verify what was acknowledged.
	$(OPERATOR_SUITE) -ginkgo.label-filter=chaos

.PHONY: load
load: assets operator ## Measure one operator that serves 500 simulated sidecars (CHAPERONE_LOAD_SIDECARS=100 for another number).
	$(OPERATOR_SUITE) -ginkgo.label-filter=load

.PHONY: test-e2e
test-e2e: build cluster-up images deploy ## Test in a real cluster, which is left running (make cluster-down).
	$(SUITE) $(GO) test -p 1 -tags $(TAGS) -timeout 40m -v $(TEST_ARGS) ./test/e2e/... $(SPECS)

# What CONFORMANCE_ARGS can say: -suites regress,isolation -only copy,insert -keep /tmp/outputs
CONFORMANCE_ARGS ?=

.PHONY: conformance-postgres
conformance-postgres: package-lists ## Run the test suites of PostgreSQL and of its clients past the sidecar and through it; compare.
	$(GO) run -tags $(TAGS) ./test/conformance/postgres $(CONFORMANCE_ARGS)

.PHONY: conformance-kube
conformance-kube: cluster-up images ## Run kubectl and other clients past the sidecar and through it, against a real cluster, which is left running; compare.
	$(GO) run -tags $(TAGS) ./test/conformance/kube $(CONFORMANCE_ARGS)

.PHONY: conformance-ssh
conformance-ssh: package-lists ## Run OpenSSH's scripts and clients that people use past the sidecar and through it; compare.
	$(GO) run -tags $(TAGS) ./test/conformance/ssh $(CONFORMANCE_ARGS)

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME.
	@$(GO_PACKAGES) | while read -r package; do \
		for target in $$($(GO) test -tags $(TAGS) -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

# Further arguments: make bench-postgres BENCH_ARGS='-short'
BENCH_ARGS ?=

.PHONY: bench-postgres
bench-postgres: package-lists ## Measure the PostgreSQL path against direct connections and pgbouncer (BENCH_ARGS=-short to try it).
	@$(GO) run -tags $(TAGS) ./test/bench/postgres $(BENCH_ARGS)

.PHONY: bench-ssh
bench-ssh: package-lists ## Measure the SSH path against direct connections (BENCH_ARGS=-short to try it).
	@$(GO) run -tags $(TAGS) ./test/bench/ssh $(BENCH_ARGS)

.PHONY: bench-kube
bench-kube: assets ## Measure the Kubernetes path against direct requests (BENCH_ARGS=-short to try it).
	@KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/assets $(GO) run -tags $(TAGS) ./test/bench/kube $(BENCH_ARGS)

.PHONY: bench-kube-cluster
bench-kube-cluster: cluster-up images deploy ## Measure exec from pods of a real cluster, which is left running, with and without a policy.
	@$(GO) run -tags $(TAGS) ./test/bench/kube/cluster $(BENCH_ARGS)

##@ Cluster (CLUSTER=current for the one that KUBECONFIG names, CLUSTER=kind for kind)

.PHONY: cluster-up
cluster-up: ## Build and start the local cluster; nothing is installed on this machine.
	$(CLUSTER_COMMAND) up

.PHONY: cluster-down
cluster-down: ## Stop the local cluster; what was built for it stays in .cluster.
	$(CLUSTER_COMMAND) down

.PHONY: cluster-shell
cluster-shell: ## Open a shell with kubectl and KUBECONFIG set.
	$(CLUSTER_COMMAND) shell

.PHONY: cluster-status
cluster-status: ## Say whether the local cluster runs, and how to use it.
	$(CLUSTER_COMMAND) status

.PHONY: cluster-clean
cluster-clean: cluster-down ## Stop the local cluster and remove everything that was built and downloaded for it.
	rm -rf $(CLUSTER_DIR)

.PHONY: assets
assets: ## Build kube-apiserver, etcd and kubectl for the API tests.
	$(CLUSTER_COMMAND) assets

# Where Go programs look for the system's roots; an image without them verifies by a policy's own roots alone.
ROOTS := $(wildcard /etc/ssl/certs/ca-certificates.crt)

# The sidecar starts them where a policy has conditions, or asks for scripts to be interpreted.
BESIDE_SIDECAR := --binary $(BIN)/when:/when --binary $(BIN)/script:/script

.PHONY: images
images: operator sidecar when script ## Make the images without Docker and load them into the cluster, with those of the demo and tests.
	@for program in operator sidecar; do \
		beside=; if [ $$program = sidecar ]; then beside="$(BESIDE_SIDECAR)"; fi; \
		$(CLUSTER_COMMAND) image scratch --name $(IMAGE_PREFIX)/$$program:$(IMAGE_TAG) -o $(CURDIR)/dist/$$program.tar \
			--binary $(BIN)/$$program:/$$program $$beside --entrypoint /$$program --user 65532 $(foreach file,$(ROOTS),--file $(file):$(file)); \
		if [ "$(CLUSTER)" = current ]; then \
			$(CLUSTER_COMMAND) image push $(CURDIR)/dist/$$program.tar $(IMAGE_PREFIX)/$$program:$(IMAGE_TAG); \
		else \
			$(CLUSTER_COMMAND) image load $(CURDIR)/dist/$$program.tar; \
		fi; \
	done
	@if [ "$(CLUSTER)" != current ]; then $(CLUSTER_COMMAND) image load toolbox postgres sshd; fi

.PHONY: deploy
deploy: bin/helm ## Install or upgrade the chart in the cluster.
	@NAMESPACE=$(NAMESPACE) IMAGE_PREFIX=$(IMAGE_PREFIX) IMAGE_TAG=$(IMAGE_TAG) \
		HELM_ARGS='$(HELM_ARGS)' hack/deploy

.PHONY: undeploy
undeploy: bin/helm ## Uninstall the chart; the resource definitions and the recordings stay.
	$(BIN)/helm uninstall chaperone --namespace $(NAMESPACE) --wait --ignore-not-found

##@ Tools

TOOLS := controller-gen golangci-lint govulncheck helm krew kustomize versitygw

.PHONY: tools
tools: $(TOOLS:%=bin/%) ## Build every tool into bin/.

# A tool is built again when its version changes.
$(TOOLS:%=bin/%): bin/%: hack/tools/%/go.mod hack/tools/%/go.sum
	@echo "building $@; the first time this takes minutes"
	@begin=$$SECONDS; $(GO) -C hack/tools/$* build -ldflags '-s -w' -o $(BIN)/ tool; touch $@; echo "built $@ in $$((SECONDS - begin)) s"
