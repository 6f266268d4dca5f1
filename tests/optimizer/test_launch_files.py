"""Launch files of each kind, as they are published, mean the layouts that their authors ran."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, UsageError
from costmodels.architecture import Architecture
from costmodels.parameters import total_params
from optimizer.doctor.diagnose import diagnose
from optimizer.launch_files.launch import Launch, flatten
from optimizer.launch_files.megatron import read_megatron
from optimizer.launch_files.nemo import read_nemo
from optimizer.launch_files.request import architecture, job_and_layout, read_launch_file

DATA = Path(__file__).parent / "launch_files_data"
CATALOG = Catalog()


def layout_of(name: str, **given: Any) -> tuple[Launch, dict[str, Any]]:
    launch = read_launch_file(DATA / name)
    job, layout = job_and_layout(launch, CATALOG, hardware="h100-sxm-80g", **given)
    return launch, {"seq": job.seq, "precision": job.precision, "tokens": job.tokens, **layout.__dict__}


def assert_has(found: dict[str, Any], **expected: Any) -> None:
    assert {name: found[name] for name in expected} == expected


def test_megatron_70b() -> None:
    launch, found = layout_of("llama_70b.sh", accelerators=512)
    assert_has(found, tp=4, pp=8, vpp=2, cp=1, dp=16, zero=1, micro_batch=1, global_batch=1024, micro_batches=64)
    assert_has(found, sequence_parallel=True, schedule="interleaved", recompute="none", offload="none")
    assert_has(found, seq=8192, precision="bf16", tokens=15000 * 1024 * 8192.0)
    assert launch.settings["accelerators"] == 64
    model = architecture(launch, CATALOG)
    # The dimensions of Llama-3-70B with a larger vocabulary.
    known = float(total_params(Architecture.of(CATALOG.models["llama-3-70b"])))
    assert float(total_params(Architecture.of(model))) == known + 2 * 8192 * (131072 - 128256)
    assert launch.unknown == [
        "--use-precision-aware-optimizer",
        "--main-grads-dtype bf16",
        "--no-check-for-nan-in-loss-and-grad",
        "--wgrad-deferral-limit 22",
    ]


def test_on_ascend_the_arguments_of_megatron_are_those_of_mindspeed() -> None:
    launch = read_launch_file(DATA / "llama_70b.sh")
    job, _ = job_and_layout(launch, CATALOG, hardware="ascend-910b", accelerators=512)
    assert job.frameworks == ("mindspeed-llm",)


def test_megatron_34b_recomputes_and_reports_what_it_does_not_know() -> None:
    launch, found = layout_of("aquila_34b.sh")
    assert_has(found, tp=4, pp=4, vpp=3, dp=8, recompute="full", global_batch=1024, seq=4096)
    told = {text.split()[0] for text in launch.unknown}
    assert told == {
        "--mlp-g1-tp-overlap",
        "--mlp-g1-overlap-size",
        "--recompute-method-per-stage",
        "--hidden-dim-multiplier",
        "--multiple-of",
    }
    assert "--recompute-method-per-stage 11 0 1 1" in launch.unknown


def test_deepspeed_zero3_offload() -> None:
    launch, found = layout_of("ds_zero3_offload.json", model="llama-2-13b", seq=4096)
    assert_has(found, zero=3, offload="optimizer", micro_batch=2, dp=8, micro_batches=4, global_batch=64)
    assert launch.unknown == ["zero_optimization.memory_efficient_linear = false"]
    assert any("offloaded to the host are not modelled" in note for note in launch.notes)
    assert any(note.startswith("bf16.enabled is auto") for note in launch.notes)


def test_torchtitan_405b() -> None:
    launch, found = layout_of("llama3_405b.toml", accelerators=512)
    assert launch.model_name == "llama-3.1-405b"
    assert_has(found, tp=8, pp=1, cp=1, dp=64, zero=3, micro_batch=2, global_batch=128, recompute="full", seq=8192)
    assert launch.unknown == ["parallelism.spmd_backend = 'default'"]


def test_nemo_overrides() -> None:
    launch, found = layout_of("proxy_nemo.sh", model="llama-3-70b", global_batch=1024, vpp=2)
    assert_has(found, tp=4, pp=8, cp=2, dp=8, sequence_parallel=True, micro_batch=1)
    assert launch.settings["accelerators"] == 512
    assert launch.settings["vpp"] == 8
    assert launch.unknown == ["training.model.optim.grad_sync_dtype=bf16"]
    assert "training.model.moe_grouped_gemm=False" in launch.beside


def test_megatron_bridge_overrides() -> None:
    launch, found = layout_of("bridge_llama3_70b.sh", model="llama-3-70b", accelerators=64)
    assert launch.framework == "megatron-bridge"
    assert_has(found, tp=4, pp=4, vpp=5, cp=2, dp=2, micro_batch=1, global_batch=512, micro_batches=256)
    assert_has(found, sequence_parallel=True, precision="bf16", seq=8192, tokens=1000 * 512 * 8192.0)
    assert launch.unknown == [
        "ddp.overlap_param_gather=true",
        "--nproc_per_node=8",
        "--recipe llama3_70b_pretrain_config",
    ]


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir()))
def test_every_argument_is_accounted_for(name: str) -> None:
    launch = read_launch_file(DATA / name)
    told = [*launch.used, *launch.beside, *launch.unknown]
    text = (DATA / name).read_text()
    if name.endswith(".json"):
        assert len(told) == len(list(flatten(json.loads(text))))
    elif name.endswith(".toml"):
        assert len(told) == len(list(flatten(tomllib.loads(text))))
    elif "bridge" in name:
        assert len(told) == len(re.findall(r"(?m)--[a-z_]+|^ *[a-z_.]+=", text))
    elif "nemo" in name:
        assert len(told) == len(re.findall(r"(?m)^\+?training\S*=|^stages=|^data_dir=", text)) + 1
    else:
        assert len(told) == len(re.findall(r"(?<=\s)--[a-z]|(?<=\")--[a-z]", re.sub(r"(?m)^#.*$", "", text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--tensor-model-parallel-size $TP", "no value"),
        ("--tensor-model-parallel-size eight", "whole number"),
        ("--tensor-model-parallel-size 0", "above zero"),
        ("--micro-batch-size 1.5", "whole number"),
        ("python train.py", "no Megatron-LM argument"),
    ],
)
def test_unreadable_arguments_are_errors(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_megatron(text)


def test_broken_files_are_told_with_their_path(tmp_path: Path) -> None:
    for name, text in (("a.json", "{"), ("a.toml", "x ="), ("b.json", '{"zero_optimization": {"stage": 7}}')):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataFileError, match=re.escape(str(tmp_path / name))):
            read_launch_file(tmp_path / name)


def test_what_is_missing_is_named() -> None:
    launch = read_launch_file(DATA / "llama3_405b.toml")
    with pytest.raises(UsageError, match="--accelerators"):
        job_and_layout(launch, CATALOG, hardware="h100-sxm-80g")
    launch = read_launch_file(DATA / "ds_zero3_offload.json")
    with pytest.raises(UsageError, match="--model"):
        job_and_layout(launch, CATALOG, hardware="h100-sxm-80g")


def test_recomputation_by_operator_is_no_refusal(tmp_path: Path) -> None:
    """torchtitan's default: every second matrix product again, which costs time and saves memory."""
    text = (
        '[model]\nname = "llama3"\nflavor = "8B"\n[training]\nlocal_batch_size = 2\nseq_len = 8192\n'
        '[activation_checkpoint]\nmode = "selective"\nselective_ac_option = "op"\n'
    )
    (tmp_path / "run.toml").write_text(text)
    found = {}
    for mode in ("none", "selective", "full"):
        (tmp_path / "run.toml").write_text(text.replace('"selective"', f'"{mode}"'))
        job, layout = job_and_layout(
            read_launch_file(tmp_path / "run.toml"), CATALOG, hardware="h100-sxm-80g", accelerators=8
        )
        found[mode] = diagnose(job, layout, CATALOG).configuration
    none, selective, full = found.values()
    assert none.time["recompute"] == 0
    assert selective.time["recompute"] == pytest.approx(full.time["recompute"] / 2, rel=1e-6)
    assert none.memory["activations"] > selective.memory["activations"] > full.memory["activations"]
    assert none.hfu == none.mfu
    assert selective.hfu / selective.mfu == pytest.approx(1 + (full.hfu / full.mfu - 1) / 2)


SWITCH = "--overlap-moe-expert-parallel-comm"
EXPERTS = (DATA / "qwen3_30b_ep.sh").read_text()


def diagnosed(tmp_path: Path, text: str, name: str = "run.sh", hardware: str = "h100-sxm-80g") -> Any:
    (tmp_path / name).write_text(text)
    launch = read_launch_file(tmp_path / name)
    job, layout = job_and_layout(launch, CATALOG, hardware=hardware)
    return launch, diagnose(job, layout, CATALOG)


def test_a_file_runs_with_the_overlap_that_it_switches_on(tmp_path: Path) -> None:
    launch, on = diagnosed(tmp_path, EXPERTS)
    assert launch.settings["expert_overlap"]
    assert SWITCH in launch.used
    assert on.configuration.expert_overlap.on
    _, off = diagnosed(tmp_path, EXPERTS.replace(SWITCH, ""))
    assert off.configuration.expert_overlap is None
    assert off.configuration.time["expert_comm"] > on.configuration.time["expert_comm"]
    assert off.best.step_s == on.best.step_s
    wait, gain = off.notes
    assert f"{SWITCH} is not switched on" in wait
    assert gain == (
        f"switched on, a step would take {on.configuration.step_s:.3g} s instead of {off.configuration.step_s:.3g} s"
    )


def test_a_switch_that_the_layout_does_not_allow(tmp_path: Path) -> None:
    plain = EXPERTS.replace("--num-virtual-stages-per-pipeline-rank 4", "")
    _, found = diagnosed(tmp_path, plain)
    assert found.configuration.expert_overlap.lacks == ("interleaved",)
    assert any("interleaved" in note for note in found.notes)
    _, off = diagnosed(tmp_path, plain.replace(SWITCH, ""))
    assert off.notes == found.notes
    assert off.configuration.step_s == found.configuration.step_s


def test_one_queue_keeps_micro_batches_apart(tmp_path: Path) -> None:
    one = EXPERTS.replace("CONNECTIONS=32", "CONNECTIONS=1")
    assert any("CUDA_DEVICE_MAX_CONNECTIONS" in note for note in read_megatron(one).notes)
    assert not any("CUDA_DEVICE_MAX_CONNECTIONS" in note for note in read_megatron(EXPERTS).notes)
    assert not any("CUDA_DEVICE_MAX_CONNECTIONS" in note for note in read_megatron(one.replace(SWITCH, "")).notes)


def test_switches_of_other_frameworks(tmp_path: Path) -> None:
    ascend = read_megatron(EXPERTS.replace(SWITCH, "--moe-fb-overlap"))
    assert (ascend.framework, ascend.settings["expert_overlap"]) == ("mindspeed-llm", True)
    for value in ("true", "false"):
        text = f"model.seq_length=4096 comm_overlap.overlap_moe_expert_parallel_comm={value}"
        (tmp_path / "run.txt").write_text(text)
        bridge = read_launch_file(tmp_path / "run.txt", "nemo")
        assert (bridge.framework, bridge.settings["expert_overlap"]) == ("megatron-bridge", value == "true")


@pytest.mark.parametrize("name", [name for name, one in CATALOG.frameworks.items() if one.expert_overlap])
def test_the_arguments_of_a_plan_switch_its_overlap_on(name: str) -> None:
    """What a plan says to switch on is read as switched on, for the framework of the plan."""
    arguments = " ".join(CATALOG.frameworks[name].expert_overlap)
    read = read_nemo(arguments) if "=" in arguments else read_megatron(arguments)
    assert read.settings["expert_overlap"]
    assert read.framework == name
