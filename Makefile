# What people and CI type. The work itself is in scripts/, where a shell can be read as a shell.

.PHONY: help test packages lint images compose-check

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 24

test: packages ## everything CI runs: packages, lints, Rust tests, UI tests, browser test, benches once
	@scripts/test

packages: ## install the Debian packages the tests start servers from, when one is missing
	@scripts/install-packages

lint: ## formatting, clippy, dependency rules
	@scripts/lint

images: ## build the container images
	@scripts/compose build

compose-check: ## bring the compose project up, see certificates issued, take it down, check the log
	@scripts/compose-check
