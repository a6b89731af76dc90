#!/bin/sh
# Finds Prometheus and promtool 3 or newer for the tests: on PATH, else in .cache/prometheus, else out of Debian's
# packages, unpacked there with an apt state of its own (nothing is installed, root is not needed).
# Prints one line that says what it found. Ends with 0 where nothing could be had, so that the other tests run;
# with 1 where CI is set, because there a missing part is a mistake.
set -u
cache=$(cd "$(dirname "$0")/.." && pwd)/.cache/prometheus
suite=forky # the first Debian release with Prometheus 3; its binaries run on older ones

# the version of a binary, or nothing where it is older than 3
recent() {
  "$1" --version 2>&1 | sed -n 's/^[a-z]*, version \([3-9]\|[1-9][0-9]\)\(\.[0-9.]*\).*/\1\2/p'
}

found() {
  echo "prometheus $2 in $1"
  exit 0
}

missing() {
  echo "no prometheus: $1. Install prometheus and promtool 3 or newer (https://prometheus.io/download/) on PATH"
  [ -z "${CI:-}" ]
  exit
}

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
  version=$(recent prometheus)
  [ -n "$version" ] && [ -n "$(recent promtool)" ] && found "$(dirname "$(command -v prometheus)")" "$version"
fi
[ -r "$cache/version" ] && [ -x "$cache/bin/prometheus" ] && [ -x "$cache/bin/promtool" ] &&
  read -r version <"$cache/version" && found "$cache/bin" "$version"

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || missing "it is not on PATH and this is not Debian"
# the machine's own mirror of Debian's main archive
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m1 -E '/debian/?$')
[ -n "$mirror" ] || missing "it is not on PATH and apt knows no Debian mirror"

work=$cache/fetch
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/unpacked" "$cache/bin" || missing "cannot write $cache"
echo "deb $mirror $suite main" >"$work/sources.list"
apt() {
  apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- -o Dir::Cache="$work" \
    -o Dir::State::Lists="$work/lists" -o Acquire::Languages=none -o APT::Sandbox::User="$(id -un)" "$@"
}
echo "fetching prometheus from Debian $suite (once)" >&2
(cd "$work" && apt update && apt download prometheus promtool) >"$cache/fetch.log" 2>&1 ||
  missing "Debian's packages could not be fetched, see $cache/fetch.log"
for package in "$work"/*.deb; do
  dpkg-deb -x "$package" "$work/unpacked" || missing "$package could not be unpacked"
done
mv "$work/unpacked/usr/bin/prometheus" "$work/unpacked/usr/bin/promtool" "$cache/bin/"
rm -rf "$work"
version=$(recent "$cache/bin/prometheus")
[ -n "$version" ] || missing "the fetched prometheus does not run here"
echo "$version" >"$cache/version"
found "$cache/bin" "$version"
