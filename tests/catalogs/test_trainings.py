"""Published trainings: the shipped ones are sourced, and bad records are told what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogs import Catalog, DataFileError
from catalogs.loading import read_records
from catalogs.training import Training

TRAININGS = Catalog().trainings

GOOD = """\
- name: done
  model: llama-7b
  accelerator: a100-sxm-80g
  framework: megatron-lm
  accelerators: 16
  tokens: 1e12
  seq: 4096
  precision: bf16
  hours: 7000
  step_s: 3.5
  layout:
    tp: 2
    pp: 1
    dp: 8
    zero: 1
    micro_batch: 4
    global_batch: 64
    recompute: none
    software: {flash_attention: false}
  estimated: [layout.micro_batch]
  date: "2025"
  sources: {"*": x, layout: y}
"""


@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS)
def test_every_source_can_be_followed_and_every_layout_has_one(training: Training) -> None:
    assert all("https://" in source for source in training.sources.values())
    assert training.title
    if training.layout is not None:
        assert "layout" in training.sources
    if training.layout is None:
        assert training.hours is not None


def test_a_good_record_reads(tmp_path: Path) -> None:
    (training,) = read(tmp_path, GOOD)
    assert training.layout is not None
    assert training.layout.accelerators == training.accelerators == 16
    assert (training.layout.vpp, training.layout.software) == (1, {"flash_attention": False})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("dp: 8", "dp: 4", "tp·pp·cp·dp of the layout is 8, not the 16 accelerators; correct one of them"),
        ("global_batch: 64", "global_batch: 65", "global_batch 65 does not divide over dp 8 with micro_batch 4"),
        (
            "flash_attention:",
            "flash_atention:",
            "unknown switch of a framework 'flash_atention'; did you mean flash_at",
        ),
        ("flash_attention:", "gradient_bytes:", "unknown switch of a framework 'gradient_bytes'; "),
        ("[layout.micro_batch]", "[layout.mbs]", "unknown field of a layout 'mbs'; "),
        ("layout: y", "layout.degrees: y", "unknown field of a layout 'degrees'; "),
        ("recompute: none", "recompute: some", ":18: training 'done': field layout.recompute: Input should be 'none'"),
        ("    micro_batch: 4\n", "", "field layout.micro_batch: is missing"),
    ],
)
def test_bad_layouts_are_told_what_is_wrong(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    with pytest.raises(DataFileError) as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert expected in str(caught.value)


def test_seconds_of_a_step_need_the_batch_of_a_layout(tmp_path: Path) -> None:
    start, _ = GOOD.split("  layout:\n")
    with pytest.raises(DataFileError, match="step_s is that of a global batch; give the layout"):
        read(tmp_path, start + '  date: "2025"\n  sources: {"*": x}\n')


def read(folder: Path, content: str) -> list[Training]:
    path = folder / "trainings.yaml"
    path.write_text(content, encoding="utf-8")
    return read_records(path, Training)
