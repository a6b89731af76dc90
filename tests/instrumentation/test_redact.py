"""Redaction: secrets in texts are masked before they are written, regions of screenshots covered."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evalgauge import track_run
from evalgauge.errors import RedactError
from evalgauge.redact import PATTERNS, Redactor, create_redactor
from evalgauge.runlog import log_files

ROOT = Path(__file__).parents[2]

SECRETS = {
    "api-key": ["sk-ant-api03-" + "a1B2" * 8, "sk-proj-" + "x" * 30, "sk_live_" + "y" * 24],
    "aws-key": ["AKIA" + "ABCD1234EFGH5678"],
    "google-key": ["AIza" + "Sy" + "b" * 33],
    "github-token": ["ghp_" + "c" * 36, "github_pat_" + "d" * 40],
    "gitlab-token": ["glpat-" + "e" * 20],
    "slack-token": ["xoxb-" + "1234567890-abc"],
    "huggingface-token": ["hf_" + "f" * 34],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"],
    "bearer-token": ["Bearer abcdefghij0123456789"],
    "url-password": ["postgres://admin:hunter2@db.example.com/x"],
    "url-secret": ["https://blob.example.com/a.png?sv=1&sig=abc%2Fdef", "https://e.com/?token=abcdef"],
    "secret": ['password = "hunter2"', "API_KEY=abcdef123", '{"client_secret": "s3cr3t"}', "pwd: hunter2"],
    "e-mail": ["jane.doe+eval@example.co.uk"],
    "private-url": ["http://10.0.0.7:8080/x", "https://wiki.corp/page", "http://build-server/job/1"],
    "private-key": ["-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"],
}
PLAIN = [
    "I click the button 'Save as' at (0.4, 0.2).",
    "https://example.com/docs?page=2#top",
    "http://localhost:5000/probe",
    "http://127.0.0.1:9909/",
    "The password field is empty.",
    "basic understanding",
    "p = 0.03; score: 0.5",
    "agent@ the desk",
    "task-01234567-89ab-cdef",
]


def test_every_built_in_pattern_has_an_example_and_a_row_in_the_documentation() -> None:
    assert SECRETS.keys() == PATTERNS.keys()
    page = (ROOT / "docs" / "privacy.md").read_text()
    for name in PATTERNS:
        assert f"| `{name}` |" in page


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in SECRETS.items() for text in texts])
def test_a_secret_is_masked_under_its_name(name: str, text: str) -> None:
    masked = Redactor().redact_text(f"see {text} there")
    assert f"[redacted:{name}]" in masked
    assert masked.startswith("see ")
    assert masked.endswith(" there")
    assert "hunter2" not in masked


@pytest.mark.parametrize("text", PLAIN)
def test_text_without_a_secret_stays(text: str) -> None:
    assert Redactor().redact_text(text) == text


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = Redactor().redact_text(text)
    assert Redactor().redact_text(once) == once


@given(
    st.sampled_from([text for texts in SECRETS.values() for text in texts]),
    st.recursive(
        st.just("HERE"), lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text(), inner)
    ),
)
def test_secrets_are_masked_however_deep_they_are(secret: str, value: object) -> None:
    raw = json.dumps(value).replace("HERE", json.dumps(secret)[1:-1])
    redacted = Redactor().redact_value({"reasoning": json.loads(raw)})
    texts = re.findall(r"\[redacted:", json.dumps(redacted))
    assert len(texts) >= json.dumps(value).count('"HERE"')


def test_nothing_secret_reaches_the_log(tmp_path: Path) -> None:
    secret = "sk-ant-api03-" + "q" * 40
    tasks = [{"task_id": "t", "instruction": f"use {secret}"}]
    with track_run(tmp_path, benchmark="b", model="m", tasks=tasks, tags={"key": secret}, redact=True) as run:
        with run.task("t", instruction=secret) as task:
            task.step(action={"type": "type", "text": secret, "model": secret}, reasoning=f"I type {secret}")
            task.log(secret)
            task.finish(success=False, error=secret, reason=secret)
    text = "".join(path.read_text() for path in log_files(run.folder))
    assert secret not in text
    assert text.count("[redacted:api-key]") == 9
    assert '"task_id":"t"' in text


def test_a_function_masks_what_only_the_user_knows(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", redact=lambda text: text.replace("Ada", "A.")) as run:
        run.task("Ada").step(action="done", reasoning="Ada is there")
    text = "".join(path.read_text() for path in log_files(run.folder))
    assert "A. is there" in text
    assert '"task_id":"Ada"' in text


def test_a_text_that_could_not_be_masked_is_not_written(tmp_path: Path) -> None:
    def fail(text: str) -> str:
        raise ValueError("no")

    with track_run(tmp_path, benchmark="b", model="m", redact=fail) as run:
        run.task("t").step(action="done", reasoning="secret")
    assert run.lost_events
    assert "secret" not in "".join(path.read_text() for path in log_files(run.folder))


RULES = """
[[pattern]]
name = "customer"
regex = "CUST-[0-9]{6}"

[[box]]
task = "checkout_*"
x = 0.5
y = 0.0
width = 0.5
height = 0.5
"""


def test_a_rule_file_adds_patterns_and_boxes(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    white = io.BytesIO()
    Image.new("RGB", (40, 40), "#ffffff").save(white, "PNG")
    with track_run(tmp_path, benchmark="b", model="m", redact=tmp_path / "rules.toml") as run:
        for name in ("checkout_1", "other"):
            run.task(name).step(action="done", reasoning="CUST-123456", screenshot=white.getvalue())
    text = "".join(path.read_text() for path in log_files(run.folder))
    assert text.count("[redacted:customer]") == 2
    for name, corner in (("checkout_1", (0, 0, 0)), ("other", (255, 255, 255))):
        with Image.open(run.folder / "screenshots" / name / "1" / "step_0000.png") as image:
            assert image.convert("RGB").getpixel((20, 19)) == corner
            assert image.convert("RGB").getpixel((39, 0)) == corner
            assert image.convert("RGB").getpixel((19, 0)) == (255, 255, 255)
            assert image.convert("RGB").getpixel((20, 20)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("[[boxes]]\nx = 0", "unknown key 'boxes'"),
        ("[[pattern]]\nname = 'a'", "write name and regex"),
        ("[[pattern]]\nname = 'a'\nregex = '('", "not a regular expression"),
        ("[[pattern]]\nname = 'a'\nregex = 'x*'", "matches an empty text"),
        ("[[box]]\nx = 0\ny = 0\nwidth = 2\nheight = 1", "width is a fraction"),
        ("[[box]]\nx = 0\ny = 0\nwidth = 1\nheight = 1\ncolour = 'red'", "unknown key 'colour'"),
        ("[box]\nx = 1", "write box as [[box]]"),
        ("= 1", "not valid TOML"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_before_anything_is_written(
    tmp_path: Path, rules: str, message: str
) -> None:
    (tmp_path / "rules.toml").write_text(rules)
    with pytest.raises(RedactError, match=re.escape(message)):
        track_run(tmp_path / "results", benchmark="b", model="m", redact=tmp_path / "rules.toml")
    assert not (tmp_path / "results").exists()


def test_a_rule_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RedactError, match="name an existing rule file"):
        create_redactor(tmp_path / "none.toml")
    with pytest.raises(RedactError, match="give True"):
        create_redactor(3)
