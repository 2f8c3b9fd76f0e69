#!/usr/bin/env bash
# Takes the screenshots of the documentation: docs/screenshot.png, docs/live-log.png and docs/agent.png for the README, and
# docs/src/admin.png. Needs the tools of `make test`, and a built server and page.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[ -x "${FANFARE_BIN:-target/debug/fanfare}" ] || die "the server is not built: run 'make build' first"
[ -d end2end/browser/node_modules ] || die "Playwright is not installed: run 'scripts/setup.sh test' first"

# The conversation contains Chinese text, which needs a Chinese font.
if [ -z "$(fc-list :lang=zh 2>/dev/null)" ]; then
  if [ "$(id -u)" = 0 ] && have apt-get; then
    say "Installing a Chinese font with apt (the picture shows Chinese text)"
    apt-get -o DPkg::Lock::Timeout=300 -qq update >/dev/null || die "apt-get update failed: Debian's packages cannot be reached"
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends \
      fontconfig fonts-wqy-microhei >/dev/null </dev/null || die "apt-get could not install fonts-wqy-microhei"
  else
    die "no Chinese font is installed: install one, for example fonts-wqy-microhei or fonts-noto-cjk"
  fi
fi

mkdir -p docs
say "Taking screenshots of a chat, a live log, an answer and the admin page (a minute)"
export FANFARE_PICTURE="$ROOT/docs/screenshot.png" FANFARE_ADMIN_PICTURE="$ROOT/docs/src/admin.png"
export FANFARE_LOG_PICTURE="$ROOT/docs/live-log.png" FANFARE_AGENT_PICTURE="$ROOT/docs/agent.png"
(cd end2end/browser && npx --no-install playwright test --config picture.config.ts)
wc -c docs/screenshot.png docs/live-log.png docs/agent.png docs/src/admin.png
