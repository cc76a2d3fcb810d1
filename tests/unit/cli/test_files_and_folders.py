"""A file where a command takes a folder, and a folder where it takes a file: one clear error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jettison.cli import main

JUDGED = "request,expected,blocked_before,blocked_after\n" + "".join(
    f"request {number},block,1,1\n" for number in range(400)
)

A_FILE_FOR_A_FOLDER = {
    "monitoring": "monitoring FILE",
    "monitoring, below": "monitoring FILE/below",
    "verify": "verify FILE",
    "export": "export docker FILE new",
    "reveal": "reveal FILE",
    "label": "label FILE",
    "find": "find FILE",
    "explain-changes": "explain-changes FILE",
    "fit-guardrail": "fit-guardrail FILE",
    "forget": "forget FILE --where a=1",
    "leak": "leak FILE --members FILE --non-members FILE",
    "audit": "audit FILE",
    "plan-data": "plan-data FILE",
    "assess": "assess m.onnx --output FILE",
    "optimize": "optimize m.onnx --output FILE",
    "optimize, below": "optimize m.onnx --output FILE/below",
    "optimize, ledger": "optimize m.onnx --ledger FILE",
    "demo": "demo --output FILE",
    "certify-guardrail": "certify-guardrail FILE --out FILE",
    "certify-guardrail, ledger": "certify-guardrail FILE --ledger FILE",
    "ask-rails": "ask-rails REQUESTS --before FILE --after FILE",
}

A_FOLDER_FOR_A_FILE = {
    "optimize": "optimize FOLDER.toml",
    "optimize, key": "optimize m.onnx --sign-key FOLDER",
    "plan-data": "plan-data FOLDER",
    "assess": "assess --predictions FOLDER --target a --decision b",
    "privacy": "privacy FOLDER --text a",
    "certify-guardrail": "certify-guardrail FOLDER",
    "redteam": "redteam FOLDER FOLDER",
    "ask-rails": "ask-rails FOLDER --before FOLDER --after FOLDER",
    "claims": "claims --json FOLDER",
    "audit": "audit FOLDER --key FOLDER",
    "approve": "approve FOLDER --name A --key FOLDER",
    "init": "init m.onnx --force",
    "serve, key": "serve FOLDER --key-file FOLDER",
    "serve, guardrails": "serve FOLDER --guardrails FOLDER",
    "serve, ready": "serve FOLDER --ready-file FOLDER",
    "serve, tls": "serve FOLDER --tls-certificate FOLDER --tls-key FOLDER",
}

ABSENT = {
    "redteam": "redteam absent.csv absent.csv",
    "certify-guardrail": "certify-guardrail absent.csv",
    "serve, ready": "serve FOLDER --ready-file absent/ready.json",
}


def cases() -> list[tuple[str, str]]:
    tables = {"file": A_FILE_FOR_A_FOLDER, "folder": A_FOLDER_FOR_A_FILE, "absent": ABSENT}
    return [(f"{kind}: {name}", words) for kind, t in tables.items() for name, words in t.items()]


@pytest.mark.parametrize("words", [w for _, w in cases()], ids=[name for name, _ in cases()])
def test_the_wrong_kind_of_path_is_one_error(
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 (5 for a bundle that is none), one message that names the path, and no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("rows.csv").write_text(JUDGED)
    Path("requests.csv").write_text("request\na\n")
    for folder in ("folder", "folder.toml", "jettison.toml"):
        Path(folder).mkdir()
    Path("folder/a.txt").write_text("a")
    typed = (
        words.replace("REQUESTS", "requests.csv")
        .replace("FILE", "rows.csv")
        .replace("FOLDER", "folder")
        .split()
    )
    monkeypatch.setattr(sys, "argv", ["jettison", *typed])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == (5 if words.startswith("verify") else 2), told
    assert told.count("jettison: ") == 1
    named = ("rows.csv", "folder", "absent", "jettison.toml")
    assert any(name in told for name in named), told
    assert Path("rows.csv").read_text() == JUDGED
