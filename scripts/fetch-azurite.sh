#!/bin/sh
# Finds Azurite, the emulator of Azure Blob Storage, for the tests of buckets: on PATH, else in .cache/azurite, else from
# npm, installed there (root is not needed).
# Prints one line. Ends with 0 where it can't be had, so that the other tests run; with 1 where CI is set.
set -u
cache=$(cd "$(dirname "$0")/.." && pwd)/.cache/azurite

missing() {
  echo "no azurite: $1"
  [ -z "${CI:-}" ]
  exit
}

command -v azurite-blob >/dev/null && echo "azurite-blob in $(command -v azurite-blob)" && exit 0
[ -x "$cache/node_modules/.bin/azurite-blob" ] && echo "azurite-blob in $cache" && exit 0
command -v npm >/dev/null || missing "it is not on PATH and npm is not installed"
mkdir -p "$cache" || missing "cannot write $cache"
echo "fetching azurite from npm (once, about a minute)" >&2
npm install --prefix "$cache" --no-audit --no-fund --no-save "azurite@^3.35" >"$cache/fetch.log" 2>&1 ||
  missing "npm could not install it, see $cache/fetch.log"
echo "azurite-blob in $cache"
