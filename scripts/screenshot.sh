#!/usr/bin/env bash
# Makes the pictures of the documentation from the running pages: docs/screenshot.png, that of the README, and
# docs/src/admin.png. Needs what `make test` needs, and a built server and page.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[ -x "${FANFARE_BIN:-target/debug/fanfare}" ] || die "there is no server to photograph: run 'make build' first"
[ -d end2end/browser/node_modules ] || die "Playwright is not installed: run 'scripts/setup.sh test' first"

# The conversation has Chinese in it: without a font for it the picture would show boxes.
if [ -z "$(fc-list :lang=zh 2>/dev/null)" ]; then
  if [ "$(id -u)" = 0 ] && have apt-get; then
    say "Installing a Chinese font with apt (the picture shows Chinese text)"
    apt-get -o DPkg::Lock::Timeout=300 -qq update >/dev/null || die "apt-get update failed: Debian's packages cannot be reached"
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends \
      fontconfig fonts-wqy-microhei >/dev/null </dev/null || die "apt-get could not install fonts-wqy-microhei"
  else
    die "no font for Chinese is installed: install one, for instance fonts-wqy-microhei or fonts-noto-cjk"
  fi
fi

mkdir -p docs
say "Photographing two windows, and the operator's page"
export FANFARE_PICTURE="$ROOT/docs/screenshot.png" FANFARE_ADMIN_PICTURE="$ROOT/docs/src/admin.png"
(cd end2end/browser && npx --no-install playwright test --config picture.config.ts)
wc -c docs/screenshot.png docs/src/admin.png
