# The commands for people and CI. The work is in scripts/.

.PHONY: help test packages soak lint images compose-check deb dist

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 24

test: packages ## everything CI runs: packages, lints, Rust tests, UI tests, browser test, benches once
	@scripts/test

packages: ## install missing packages of the servers that the tests start: from Debian, and from PyPI into target/
	@scripts/install-packages
	@scripts/install-python

soak: ## the long test campaigns: hours; SOAK_DIVIDE=10 runs a tenth
	@scripts/soak

lint: ## formatting, clippy, dependency rules
	@scripts/lint

deb: ## the Debian package, built and tried in an empty root; PROFILE=release builds sooner than dist
	@scripts/deb-check "$$(scripts/deb | tail -1)"

dist: ## what a release consists of: package, archive, bill of materials, checksums
	@scripts/dist

images: ## build the container images
	@scripts/compose build

compose-check: ## start the compose project, wait for certificates, stop it, check the log
	@scripts/compose-check
