#!/bin/sh
# Builds .cache/openadapt-<version>: a virtual environment with openadapt-evals, the clients of Anthropic and OpenAI that
# it brings, and OpenTelemetry's instrumentation of them; older releases of openadapt-evals lie beside it in releases/,
# to be put in front of it by PYTHONPATH; msgspec is what evalgauge itself needs there. Only for tests: nothing of it is a dependency of evalgauge.
# Prints one line. Ends with 0 where it can't be had, so that the other tests run; with 1 where CI is set.
set -u
version=0.98.0
older="0.1.0 0.30.0 0.87.0"
environment=$(cd "$(dirname "$0")/.." && pwd)/.cache/openadapt-$version
python=${PYTHON:-python3}

missing() {
  echo "no openadapt-evals $version: $1, see $environment.log"
  [ -z "${CI:-}" ]
  exit
}

script=$(cksum <"$0")
[ "$(cat "$environment/.ready" 2>/dev/null)" = "$script" ] && echo "openadapt-evals $version in $environment" && exit 0
rm -rf "$environment"
mkdir -p "$environment" || exit 1
echo "fetching openadapt-evals (once)" >&2
"$python" -m venv "$environment" >"$environment.log" 2>&1 || missing "the environment could not be made"
pip="$environment/bin/python -m pip install --quiet --disable-pip-version-check"
$pip "openadapt-evals==$version" "opentelemetry-sdk~=1.45" opentelemetry-instrumentation-genai-openai \
  opentelemetry-instrumentation-genai-anthropic "msgspec>=0.20,<1" >>"$environment.log" 2>&1 || missing "pip could not install it"
for release in $older; do
  # they ask for torch, which nothing here needs
  $pip --no-deps --target "$environment/releases/$release" "openadapt-evals==$release" >>"$environment.log" 2>&1 ||
    missing "pip could not fetch $release"
done
echo "$script" >"$environment/.ready"
echo "openadapt-evals $version in $environment"
