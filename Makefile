# Needs Go, make and git; everything else is built from Go modules. `make help` explains the targets.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TOOLS := hack/tools/go.mod
CONTROLLER_GEN := go tool -modfile=$(TOOLS) controller-gen
CRD_REF_DOCS := go tool -modfile=$(TOOLS) crd-ref-docs

# The race detector needs a C compiler. Where there is none the tests run without it, and say so. The policy runs without it as well: it is pure,
# may not import sync (internal/boundaries_lifecycle_test.go), and the detector makes its walks ten times slower.
RACE := $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC | cut -d' ' -f1)" >/dev/null 2>&1 && echo -race)

# With a control plane in KUBEBUILDER_ASSETS, the one that is built here is not needed.
ifeq ($(KUBEBUILDER_ASSETS),)
CONTROLPLANE := bin/k8s/kubectl.stamp
endif

# $(call require,IMAGE,<example>) stops with one line, before anything is compiled, unless the variable is set.
require = $(if $(strip $($(1))),,$(error $(1) is not set: make $@ $(2)))
example_image := IMAGE=<registry>/dgbot-key-operator:1.2.3
example_plugin := VERSION=v0.1.0 URL=https://example.com/releases/v0.1.0

##@ The two that matter

.PHONY: demo
demo: $(CONTROLPLANE) bin/manager bin/verifier bin/kubectl-dgbot bin/kubectl_complete-dgbot ## Start a control plane, operator and verifier, show what keys do, check every step (CHAPTER=leak,audit for some; ALL=1 for all output).
	@echo "compiling bin/demo" >&2
	@go build -o bin/demo ./hack/demo && exec bin/demo --parent=$$PPID $(if $(CHAPTER),--chapter='$(CHAPTER)') $(if $(ALL),--all)

.PHONY: demo-recording
demo-recording: $(CONTROLPLANE) build bin/kubectl_complete-dgbot ## Play the demo, and write the picture of it in the README anew.
	@go run ./hack/demo --record docs/images/demo.svg

.PHONY: demo-list
demo-list: ## List the chapters of the demo.
	@go run ./hack/demo --list

.PHONY: test
test: $(CONTROLPLANE) ## All tests, then what 'verify' checks. EXHAUSTIVE=1, as in CI: with the race detector, and walks, crash matrices and attacks in full size.
	@$(if $(EXHAUSTIVE),$(if $(RACE),,echo "no C compiler: the tests run without the race detector"))
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || echo "no nginx: its example is not tried"
	@command -v chromium >/dev/null || echo "no chromium: the widget is not tried in a browser"
	@$(MAKE) $(if $(EXHAUSTIVE),test-exhaustive,test-small)
	@$(MAKE) test-alerts
	@$(MAKE) test-release
	@$(MAKE) verify

# Attacks take both processors, so they run alone: clients of another package's tests would wait for their turn. They run without the race
# detector, which would slow the attackers, and not the built verifier. In full size test/starvation runs alone as well.
others = $$(go list ./... | grep -v -e '/test/attack$$'$(foreach package,$(1), -e '$(package)'))

# Most suites wait for a control plane of their own. So more of them run at the same time than there are processors, the longest first. Without
# debug information a test links in half of the time; stack traces do not need it.
#
# An API server of a suite collects garbage very often, because its live heap is small: with GOGC=300 the suite takes a seventh less processor
# time. Managers and verifiers under test do not see the variable.
longest = ./test/e2e ./controllers ./test/install ./test/verifier ./test/starvation ./test/proof ./test/clusters ./test/policy ./test/e2e/storm ./test/scenarios ./test/restore ./test/gitops

.PHONY: test-small
test-small:
	GOGC=300 go test -short -ldflags=-w -p 4 -parallel 4 -timeout 30m $(longest) $(call others)
	go test -short -ldflags=-w -timeout 30m ./test/attack

# The crash matrix in full size runs without the race detector, which makes it three times slower and finds nothing more in one
# reconciler that is stopped at another write.
.PHONY: test-exhaustive
test-exhaustive:
	go test -timeout 30m ./internal/lifecycle/...
	go test -timeout 30m -run CrashMatrix ./controllers
	go test $(RACE) -short -timeout 30m ./controllers
	go test $(RACE) -timeout 30m $(call others,/internal/lifecycle /controllers$$ /test/starvation$$)
	go test $(RACE) -timeout 30m ./test/starvation
	go test -timeout 30m ./test/attack

##@ Running

.PHONY: run
run: $(CONTROLPLANE) bin/manager bin/verifier bin/kubectl-dgbot bin/kubectl_complete-dgbot ## Start a control plane, operator and verifier, print the KUBECONFIG to use, stay until interrupted.
	@echo "compiling bin/demo" >&2
	@go build -o bin/demo ./hack/demo && exec bin/demo --stay --parent=$$PPID

.PHONY: build
build: bin/manager bin/verifier bin/kubectl-dgbot bin/kubectl_complete-dgbot ## Build bin/manager, bin/verifier and bin/kubectl-dgbot (VERSION where Git does not have it).

.PHONY: bin/manager bin/verifier bin/kubectl-dgbot
bin/manager bin/verifier bin/kubectl-dgbot: bin/%:
	@echo "compiling $@" >&2
	@CGO_ENABLED=0 go build -trimpath $(if $(VERSION),-ldflags='-X dgbot.io/key-operator/internal/version.value=$(VERSION)') -o $@ ./cmd/$*

bin/kubectl_complete-dgbot: hack/kubectl_complete-dgbot
	@install -m 0755 $< $@

.PHONY: controlplane
controlplane: bin/k8s/kubectl.stamp ## Build etcd, kube-apiserver, kube-controller-manager and kubectl into bin/k8s (minutes, the first time).

bin/k8s/kubectl.stamp: hack/controlplane/go.mod hack/controlplane/go.sum hack/controlplane/main.go hack/controlplane/build.sh
	@hack/controlplane/build.sh bin/k8s

.PHONY: image
image: ## Build the container image dgbot-key-operator:dev, which config/manager names (needs Docker).
	docker build $(if $(VERSION),--build-arg VERSION='$(VERSION)') -t dgbot-key-operator:dev .

.PHONY: image-oci
image-oci: ## Build the same image without Docker, as an OCI image layout in dist/image (PLATFORMS=linux/amd64,linux/arm64 VERSION=1.2.3).
	@cd hack/release && go run ./image $(if $(VERSION),-version='$(VERSION)') $(if $(PLATFORMS),-platforms='$(PLATFORMS)')

.PHONY: image-push
image-push: ## Build it like that and push it (IMAGE=<registry>/dgbot-key-operator:1.2.3), as who docker or podman is logged in.
	$(call require,IMAGE,$(example_image))
	@cd hack/release && go run ./image $(if $(PLATFORMS),-platforms='$(PLATFORMS)') $(if $(VERSION),-version='$(VERSION)') -push -image='$(IMAGE)'

.PHONY: plugin
plugin: ## Pack kubectl-dgbot for all platforms into dist/, with a manifest for Krew (VERSION=v0.1.0 URL=https://…).
	$(call require,VERSION,$(example_plugin))
	$(call require,URL,$(example_plugin))
	@go run ./hack/plugin -version "$(VERSION)" -url "$(URL)"

.PHONY: release
release: ## Write dist/install.yaml and the packaged Helm chart (IMAGE=<registry>/dgbot-key-operator:1.2.3, VERSION where that is not its tag).
	$(call require,IMAGE,$(example_image))
	@cd hack/release && go run ./dist -image='$(IMAGE)' -version='$(VERSION)'

##@ Changing the code

.PHONY: test-unit
test-unit: ## The tests that need no control plane, with fewer random walks and without the race detector.
	go test -short -ldflags=-w -p 4 -parallel 16 $$(go list ./api/... ./internal/... | grep -v /internal/testenv) ./controllers/apikeys ./controllers/chatbots ./controllers/objectmetrics ./controllers/internal/...

.PHONY: bench bench-quick bench-operator bench-verifier
bench: bench-operator bench-verifier ## Measure operator and verifier against the least that could do the same (half an hour; N=2000 keys, RECORDS=100000, ROUNDS).

# Small sizes: the ratios of two runs on one machine compare two versions. Only 'bench' has figures to publish.
bench-quick: $(CONTROLPLANE) ## The same with few keys and records, for a first look (3 minutes).
	@go build -o bin/bench ./hack/bench && bin/bench -n 300 -rounds 1 -foreign 1000 -large 3
	@go build -o bin/benchverifier ./hack/benchverifier && bin/benchverifier -records 5000 -streamed 20000 -revocations 50 -rounds 1 -span 2s

bench-operator: $(CONTROLPLANE)
	@go build -o bin/bench ./hack/bench && exec bin/bench -n $(or $(N),2000) -rounds $(or $(ROUNDS),3)

bench-verifier: $(CONTROLPLANE)
	@go build -o bin/benchverifier ./hack/benchverifier && bin/benchverifier -records $(or $(RECORDS),100000) -rounds $(or $(ROUNDS),5)
	go test -run=none -bench='Verify|Refusal' -count=$(or $(ROUNDS),5) -timeout 1h ./internal/verify/index

.PHONY: soak
soak: $(CONTROLPLANE) ## A storm over two managers, again and again (STORMS=20 of DURATION=85s over KEYS=200), then starvation, policies and load on the verifier in full size.
	go test -v -timeout 0 -run TestStorm -count=$(or $(STORMS),20) ./test/e2e/storm -storm.duration=$(or $(DURATION),85s) -storm.keys=$(or $(KEYS),200) -storm.delete-records
	go test -v -timeout 1h -count=1 ./test/starvation -starvation.keys=2000 -starvation.foreign=20000 -starvation.large=30 -starvation.bulk=3000 -starvation.sharing=600 -starvation.large-configmaps=1000 -starvation.annotated-secrets=1000
	go test -v -timeout 1h -count=1 ./test/attack -attack.connections=12257 -attack.time=30s
	go test -v -timeout 1h -count=1 -run CostLittle ./test/policy -policy.every-shape
	go test -v -timeout 1h -count=1 -run 'UnderLoad|FollowRotations' ./test/verifier -load.revocations=10000 -load.keys=500

.PHONY: test-alerts
test-alerts: bin/promtool ## Test the alerts, and the queries of the dashboard, with promtool (builds it the first time: minutes).
	bin/promtool check rules config/prometheus/alerts.yaml
	hack/alerts/dashboard-rules.sh | bin/promtool check rules
	bin/promtool test rules hack/alerts/*_test.yaml

# Not with 'go tool', which ignores build tags.
bin/promtool: hack/tools/go.mod hack/tools/go.sum
	CGO_ENABLED=0 go build -modfile=$(TOOLS) -tags=remove_all_sd -ldflags=-w -o $@ github.com/prometheus/prometheus/cmd/promtool

.PHONY: test-release
test-release: $(CONTROLPLANE) ## The chart with Helm itself on a control plane, the manifest, the image built without Docker, and the scanner rules with gitleaks (compiles for minutes the first time).
	cd hack/release && go test -timeout 30m ./...

.PHONY: generate
generate: ## Regenerate deep copies, CRDs, RBAC, the API reference, excerpts of scenarios in docs, the PrometheusRule, what goes into argocd-cm and the chart from their sources.
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate/boilerplate.go.txt paths=./api/...
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=dgbot-manager paths=./controllers/... output:rbac:dir=config/rbac
	$(CRD_REF_DOCS) --source-path=api --config=hack/docs/config.yaml --renderer=markdown --output-path=docs/api-reference.md --log-level=ERROR
	hack/alerts/prometheusrule.sh >config/prometheus/prometheusrule.yaml
	cd hack/release && go run ./chart
	go run ./hack/excerpts README.md docs/*.md
	hack/gitops/argocd-scripts.sh
	hack/gitops/argocd-cm.sh patch >config/integrations/argocd/argocd-cm.yaml
	hack/gitops/argocd-cm.sh removal >config/integrations/argocd/argocd-cm-removal.yaml
	hack/gitops/argocd-cm.sh component >config/integrations/argocd/kustomization.yaml

.PHONY: fmt
fmt: ## Format the Go sources.
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

.PHONY: lint
lint: ## Lint the Go sources (builds the pinned linter the first time: minutes).
	go tool -modfile=$(TOOLS) golangci-lint-kube-api-linter run ./...
	cd hack/release && go tool -modfile=../tools/go.mod golangci-lint-kube-api-linter run ./...

.PHONY: verify
verify: ## Regenerate everything in a copy and find no difference; check tracked files, formatting, modules, vet and lint.
	@hack/verify/verify.sh

.PHONY: clean
clean: ## Remove what was built.
	rm -rf bin dist

.PHONY: help
help: ## Show this.
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
