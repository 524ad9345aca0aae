"""No line of the file can stop the run: each bad one is refused with its reason, and the good ones trade."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.operations.command import Where, assert_sound, done, look, read_report
from tests.operations.recordings import Script, time_and_sales

GOOD = "00000000-0000-4000-8000-000000000001"
TWIN = "00000000-0000-4000-8000-000000000002"
NOBODY = "00000000-0000-4000-8000-00000000dead"
SYMBOL = "BTC/USDT"
ROWS = "SELECT id::text AS id, kind, verdict, codes, reasons, body::text AS body FROM trade_requests ORDER BY number"


def bad_lines(at: int) -> dict[str, tuple[str, str]]:
    """Return each bad line with the code it gets and a word of the reason."""

    def line(**fields: Any) -> str:
        trade = {"at": at, "symbol": SYMBOL, "side": "buy", "size_usd": "500"} | fields
        return json.dumps({name: value for name, value in trade.items() if value is not None})

    return {
        line(size_usd="-500"): ("BAD_VALUE", "size_usd is"),
        line(size_usd="0"): ("BAD_VALUE", "size_usd is"),
        line(size_usd="NaN"): ("BAD_VALUE", "size_usd is 'NaN'"),
        line(size_usd=float("nan")): ("BAD_VALUE", "size_usd is NaN"),
        line(size_usd="1e400"): ("BAD_VALUE", "1e400"),
        line(size_usd=500).replace("500", "1e400"): ("BAD_VALUE", "1e400"),
        line(stop_loss="1000000"): ("STOP_WRONG_SIDE", "stop_loss"),
        line(side="sell", leverage=2, stop_loss="1"): ("STOP_WRONG_SIDE", "stop_loss"),
        line(take_profit="1"): ("TARGET_WRONG_SIDE", "take_profit 1 "),
        line(symbol="DOGE/USDT"): ("UNKNOWN_SYMBOL", "DOGE/USDT"),
        line(symbol="ETH/USDT"): ("NO_PRICE", "ETH/USDT"),
        line(side=None): ("MISSING_FIELD", "side is missing"),
        line(size_usd=None): ("MISSING_FIELD", "size_usd is missing"),
        line(side="hold"): ("BAD_VALUE", "side is 'hold'"),
        line(leverage=0): ("BAD_VALUE", "leverage is"),
        line(leverage=99): ("BAD_VALUE", "leverage is"),
        line(side="sell", leverage=1): ("SHORT_NEEDS_LEVERAGE", "at least 2"),
        line(sise="1"): ("UNKNOWN_FIELD", "'sise'"),
        line(size_usd="0.01"): ("ORDER_TOO_SMALL", "below the minimum"),
        "this is not JSON": ("UNREADABLE", "not JSON"),
        "[1, 2]": ("UNREADABLE", "not a JSON object"),
        '{"at": ' + "[" * 5_000: ("UNREADABLE", "not JSON"),
        json.dumps({"at": at, "cancel": "no uuid"}): ("BAD_VALUE", "cancel is 'no uuid'"),
    }


def test_bad_lines_are_refused_with_their_reasons_and_the_good_ones_trade(
    tmp_path: Path, elsewhere: Where, log: Path, calm: Path
) -> None:
    recording = time_and_sales(tmp_path / "XBTUSDT.csv", seed=3, trades=300)
    start = recording.times_s[0]
    bad = bad_lines(int(start) + 60)
    script = Script()
    for line in bad:
        script.raw(line)
    script.trade(start + 30, SYMBOL, "buy", id=GOOD, stop_loss="50000", take_profit="200000")
    script.trade(start + 90, SYMBOL, "buy", id=TWIN, stop_loss="50000")
    script.trade(start + 91, SYMBOL, "sell", id=TWIN, leverage=3)  # The same id is the same intent: done.
    script.cancel(start + 100, NOBODY)
    script.close(start + 110, NOBODY)
    proposals = script.write(tmp_path / "proposals.jsonl")
    report = tmp_path / "report.json"

    result = done(
        *("--prices", recording.word, "--proposals", proposals, "--until-prices-end", "--report", report),
        *("--config", calm),
        log=log,
        **elsewhere.variables,
    )

    told = read_report(report)
    assert_sound(told)
    assert told["positions_opened"] == 2
    assert told["proposals"] == len(bad) + 2
    assert told["rejected"] == len(bad)
    codes = [code for code, _reason in bad.values()]
    assert told["rejections"] == {code: codes.count(code) for code in codes}

    (rows,) = look(elsewhere, ROWS)
    by_code = {(row["codes"] or [""])[0] for row in rows}
    assert by_code == {*codes, "", "NOTHING_TO_DO"}
    refused = [row for row in rows if row["verdict"] == "rejected"]
    for line, (code, reason) in bad.items():
        told_so = [row for row in refused if row["codes"][0] == code and reason in row["reasons"][0]]
        assert told_so, (line, [row["reasons"] for row in refused if row["codes"][0] == code])
        # The log names the trade, the code and the reason.
        assert any(
            row["id"][:8] in text and code in text and told_so[0]["reasons"][0].replace('"', "")[:40] in plain
            for row in told_so
            for text, plain in ((text, text.replace('\\"', "").replace('"', "")) for text in result.stdout.splitlines())
        ), (line, told_so)
    assert [(row["kind"], row["codes"]) for row in rows if row["kind"] in {"cancel", "close"}] == [
        ("cancel", ["NOTHING_TO_DO"]),
        ("close", ["NOTHING_TO_DO"]),
    ]
    assert [row["verdict"] for row in rows if row["id"] in {GOOD, TWIN}] == ["approved", "approved"]


def test_a_file_without_any_good_line_still_ends_well(tmp_path: Path, elsewhere: Where, log: Path) -> None:
    recording = time_and_sales(tmp_path / "XBTUSDT.csv", seed=3, trades=20)
    proposals = tmp_path / "proposals.jsonl"
    proposals.write_bytes(b"\xff\xfe\x00\n\n{}\nnull\n" + b"x" * 200_000 + b"\n")
    report = tmp_path / "report.json"

    done(
        *("--prices", recording.word, "--proposals", proposals, "--until-prices-end", "--report", report),
        log=log,
        **elsewhere.variables,
    )

    told = read_report(report)
    assert_sound(told)
    assert (told["proposals"], told["rejected"], told["ticks"]) == (4, 4, 20)
