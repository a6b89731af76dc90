#!/bin/sh
# Finds VictoriaMetrics for the test of OTLP metrics: on PATH, else in .cache/victoria-metrics, else out of Debian's
# package, unpacked there with an apt state of its own (nothing is installed, root is not needed). It is needed where
# Prometheus was built without its OTLP receiver, as Debian's is; both store the same names.
# Prints one line. Ends with 0 where it can't be had, so that the other tests run; with 1 where CI is set.
set -u
cache=$(cd "$(dirname "$0")/.." && pwd)/.cache/victoria-metrics
suite=forky

missing() {
  echo "no victoria-metrics: $1"
  [ -z "${CI:-}" ]
  exit
}

command -v victoria-metrics >/dev/null && echo "victoria-metrics in $(command -v victoria-metrics)" && exit 0
[ -x "$cache/bin/victoria-metrics" ] && echo "victoria-metrics in $cache/bin" && exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || missing "it is not on PATH and this is not Debian"
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
echo "fetching victoria-metrics from Debian $suite (once)" >&2
(cd "$work" && apt update && apt download victoria-metrics) >"$cache/fetch.log" 2>&1 ||
  missing "Debian's package could not be fetched, see $cache/fetch.log"
dpkg-deb -x "$work"/victoria-metrics_*.deb "$work/unpacked" || missing "the package could not be unpacked"
mv "$work/unpacked/usr/bin/victoria-metrics" "$cache/bin/"
rm -rf "$work"
"$cache/bin/victoria-metrics" --version >/dev/null 2>&1 || missing "the fetched one does not run here"
echo "victoria-metrics in $cache/bin"
