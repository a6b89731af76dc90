"""Reading /metrics as a client does."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str, *, openmetrics: bool = False) -> Samples:
    """Each sample's value by name and labels; a sample that is there twice is an error."""
    found: Samples = {}
    parse: Callable[[str], Iterable[Metric]] = openmetrics_families if openmetrics else text_string_to_metric_families
    families = parse(text)
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{sample.name}{sample.labels} is there twice"
            assert sample.timestamp is None
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    """The value of exactly one sample that has these labels, whatever its others."""
    hits = [
        number for (other, pairs), number in found.items() if other == name and labels.items() <= dict(pairs).items()
    ]
    assert len(hits) == 1, f"{len(hits)} samples {name}{labels}"
    return hits[0]


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    return sum(
        number for (other, pairs), number in found.items() if other == name and labels.items() <= dict(pairs).items()
    )


def scrape(url: str) -> Samples:
    """The samples of a running exporter."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        return samples(answer.read().decode())


def get(url: str, **headers: str) -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): text for name, text in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def counters(found: Samples) -> Samples:
    """The samples that may never go down, whichever process exposes them; those of the process itself begin anew."""
    return {
        key: number for key, number in found.items() if re.match(r"(?!process_).*_(total|bucket|count|sum)$", key[0])
    }
