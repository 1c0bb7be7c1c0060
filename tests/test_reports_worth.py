"""What the report says of synthesis: helps, does not, cannot be told."""

import pytest

from jaxbrain.errors import DataError
from jaxbrain.reports import page, worth
from jaxbrain.scoring import filtered


def row(generator, difference, p, protocol="P3", against="none", low=None):
    interval = [difference - 0.02 if low is None else low, difference + 0.02]
    names = {"protocol": protocol, "generator": generator, "classifier": "ridge"}
    found = {"against": against, "difference": difference, "interval": interval}
    return names | found | {"corrected_t_p": p, "corrected_t_p_holm": p}


def cells(*names):
    own = {"classifier": "ridge", "labels": "true", "interval": [0.6, 0.8]}
    return [
        own | {"protocol": protocol, "generator": name, "accuracy": 0.6 + 0.01 * i}
        for i, name in enumerate(names)
        for protocol in ("P2", "P3")
    ]


def written(results: dict) -> str:
    return page.markdown(page.Page("", (), tuple(worth.section(results))))


def test_no_generator_helps():
    rows = [row("a", 0.05, 0.2), row("a@only", -0.1, 0.01), row("b", 0.3, 0.001, "P2")]
    # Two equal differences have no variance; the filter is no synthesis.
    rows += [row("c", 0.1, 0.0, low=-0.1), row("a@filtered", 0.2, 0.01, against="a")]
    assert worth.finding({"worth": rows}) == (
        "No generator helps any classifier by more than chance may give (P3, 3 comparisons with "
        "real images alone, Holm, 5 %)."
    )


def test_which_one_helps():
    rows = [row("a@50", 0.05, 0.04), row("b", 0.03, 0.06)]
    assert worth.finding({"worth": rows}) == (
        "Synthesis helps by more than chance may give in 1 of 2 comparisons with real images alone "
        "(P3, Holm): ridge + a@50 +5.0 points (+3.0..+7.0; p 0.040)."
    )


def test_one_test_set_tells_nothing():
    one = row("a", 0.05, None)
    del one["corrected_t_p_holm"]
    assert "cannot be told from one test set" in worth.finding({"worth": [one]})
    assert worth.finding({}) == worth.finding({"worth": []}) == ""
    assert worth.section({"cells": []}) == []


def test_trained_on_synthetic_beside_trained_on_real():
    rows = [row("a@only", -0.02, 0.5, "P2"), row("a@only", -0.02, 0.5)]
    rows += [row("a@filtered", 0.01, 0.9, against="a")]
    results = {"worth": rows, "cells": cells("none", "a", "a@only", "a@filtered")}
    header, shown = worth.table(results)
    assert header[3:6] == ["accuracy", "against", "its accuracy"]
    assert [line[0] for line in shown] == ["P3", "P3", "P2"]
    assert shown[0][2:7] == [
        "a@only",
        "62.0 (60.0..80.0)",
        "real alone",
        "60.0 (60.0..80.0)",
        "-2.0",
    ]
    assert shown[1][2:6] == ["a@filtered", "63.0 (60.0..80.0)", "a", "61.0 (60.0..80.0)"]
    text = written(results)
    assert "## What synthesis is worth\n\nNo generator helps" in text and "TSTR" in text


def test_what_was_filtered(tmp_path):
    path = tmp_path / filtered.FILE
    lines = [",".join(filtered.COLUMNS), '"P3","a@5,filtered",images,true,0,0,10,4,0,0.05']
    lines += ['P3,"a@5,filtered",images,true,0,1,10,6,2,0.07', "P0,a,images,shuffled,0,1,9,9,9,0.1"]
    path.write_text("\n".join(lines) + "\n")
    found = filtered.summary(filtered.read(path))
    own = {"protocol": "P3", "generator": "a@5,filtered", "view": "images", "num_fits": 2}
    assert found == [own | {"images": 20, "near": 10, "filled": 2, "limit": pytest.approx(0.06)}]
    text = written({"cells": [], "filtered": found}).replace("\\", "")
    assert "| a@5,filtered | P3 | images | 20 | 10 | 50.00 | 2 | 0.0600 |" in text
    assert "2 of 20 images are near-copies all the same: too few others were drawn" in text
    for place, wrong, match in ((1, "near", "line 2: .*near"), (0, "images", "line 1: .*columns")):
        bad = [line.replace("10,4,", "10,11,") if place else "a,b" for line in lines]
        path.write_text("\n".join(bad) + "\n")
        with pytest.raises(DataError, match=match):
            filtered.read(path)
        assert wrong in lines[0]
    path.unlink()
    with pytest.raises(DataError, match="not what a study wrote"):
        filtered.read(path)
