"""Closed forms of networks against textbook counts, published reference designs, and the graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError
from costmodels.collectives import scale_out_bandwidth
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.fabric import Dragonfly, ScaleUp, Tree, fat_tree, full_fat_tree
from optimizer.fabric_graph import (
    Graph,
    cables,
    dragonfly_graph,
    flow_links,
    most_ports,
    scale_up_graph,
    switch_hops,
    switches,
    tree_graph,
)

ONE = np.ones(())


def number(value: float) -> Column:
    return np.asarray(float(value))


@pytest.mark.parametrize("k", [4, 8, 16, 40, 64])
def test_three_tier_counts_are_those_of_al_fares(k: int) -> None:
    tree = full_fat_tree(number(k), number(3))
    assert tree.endpoints == k**3 / 4
    assert (tree.leaves, tree.spines, tree.cores) == (k * k / 2, k * k / 2, k * k / 4)
    assert tree.switches == 5 * k * k / 4
    assert tree.cables == 3 * k**3 / 4
    assert tree.bisection_links == k**3 / 8
    assert tree.switch_hops == 5


@pytest.mark.parametrize("k", [4, 8, 16, 40, 64])
def test_two_tier_counts_and_max_flow(k: int) -> None:
    tree = full_fat_tree(number(k), number(2))
    assert (tree.endpoints, tree.leaves, tree.spines) == (k * k / 2, k, k / 2)
    assert (tree.cables, tree.transceivers) == (k * k, 2 * k * k)
    graph = tree_graph(tree)
    check_graph(tree, graph)
    assert flow_links(graph, range(k * k // 4)) == tree.bisection_links == k * k / 4


@pytest.mark.parametrize("k", [4, 8, 16, *(pytest.param(k, marks=pytest.mark.slow) for k in (40, 64))])
def test_three_tier_max_flow_is_the_analytic_bisection(k: int) -> None:
    tree = full_fat_tree(number(k), number(3))
    graph = tree_graph(tree)
    check_graph(tree, graph)
    assert flow_links(graph, range(k**3 // 8)) == tree.bisection_links
    assert switch_hops(graph, 0, k**3 // 4 - 1) == tree.switch_hops


def check_graph(tree: Tree, graph: Graph) -> None:
    assert switches(graph) == tree.switches
    assert cables(graph) == tree.cables
    assert most_ports(graph) <= tree.radix


# https://docs.nvidia.com/dgx-superpod/reference-architecture-scalable-infrastructure-b200/latest/dgx-superpod-architecture.html
# Table "Larger SuperPOD component counts": GPUs, leaf, spine, core, node-leaf, leaf-spine, spine-core.
SUPERPOD_B200 = [
    (512, 16, 8, 0, 512, 512, 0),
    (1024, 32, 16, 0, 1024, 1024, 0),
    (2048, 64, 32, 0, 2048, 2048, 0),
    (4096, 128, 128, 64, 4096, 4096, 4096),
    (8192, 256, 256, 128, 8192, 8192, 8192),
    (16384, 512, 512, 256, 16384, 16384, 16384),
]


@pytest.mark.parametrize("row", SUPERPOD_B200)
def test_dgx_superpod_scalable_units(row: tuple[int, ...]) -> None:
    tree = fat_tree(number(row[0]), number(64), ONE, rails=number(8))
    ours = (tree.leaves, tree.spines, tree.cores, tree.endpoint_links, tree.leaf_links, tree.core_links)
    assert tuple(int(one) for one in ours) == row[1:]


def test_a_rail_optimised_group_is_one_switch_hop_along_a_rail() -> None:
    tree = fat_tree(number(1024), number(64), ONE, rails=number(8))
    graph = tree_graph(tree, rails=8)
    check_graph(tree, graph)
    assert switch_hops(graph, 3, 8 * 31 + 3) == 1  # the same rail of the first and the last server of a group
    assert switch_hops(graph, 3, 4) == 3  # two rails of one server
    assert flow_links(graph, range(512)) == tree.bisection_links == 512


@pytest.mark.parametrize("ratio", [1, 2, 3, 7])
def test_oversubscription_divides_the_bisection(ratio: int) -> None:
    tree = fat_tree(number(24 * 24 * ratio / (1 + ratio)), number(24), number(ratio))
    assert tree.tiers == 2
    graph = tree_graph(tree)
    check_graph(tree, graph)
    assert flow_links(graph, range(int(tree.endpoints) // 2)) == tree.bisection_links
    assert tree.bisection_links == tree.endpoints / 2 / ratio


@pytest.mark.parametrize("ratio", [1.0, 2.0, 3.0])
def test_collectives_run_at_what_the_wired_network_can_carry(ratio: float) -> None:
    """The bandwidth of a group beyond one leaf is its share of the max-flow; within a leaf it is the port's."""
    catalog = Catalog()
    fabric = catalog.fabrics["roce-400"].model_copy(update={"radix": 24, "oversubscription": ratio})
    device = Device.of(catalog.accelerators["h100-sxm-80g"], 8, fabric, "bf16", 50e9)
    tree = fat_tree(number(24 * 24 * ratio / (1 + ratio)), number(24), number(ratio), rails=number(8))
    graph = tree_graph(tree, rails=8)
    ends = int(tree.endpoints)
    leaf = int(tree.down) * 8  # accelerators of the servers below one group of rails
    assert device.leaf_accelerators == leaf
    groups = ends // leaf
    share = flow_links(graph, range(groups // 2 * leaf)) / (groups // 2 * leaf)
    beyond = scale_out_bandwidth(number(leaf + 8), device, number(1.0))
    assert beyond == pytest.approx(50e9 * share)
    assert scale_out_bandwidth(number(leaf), device, number(1.0)) == 50e9


@settings(max_examples=60, deadline=None)
@given(endpoints=st.integers(1, 16**3 // 4 - 1), radix=st.sampled_from([16, 24, 32]), ratio=st.sampled_from([1, 3]))
def test_any_size_is_wired_within_the_ports_and_needs_no_fewer_leaves_when_larger(
    endpoints: int, radix: int, ratio: int
) -> None:
    tree = fat_tree(number(endpoints), number(radix), number(ratio))
    graph = tree_graph(tree)
    assert most_ports(graph) <= radix
    # Leaves of a last, partly used pod have uplinks but maybe no endpoints.
    assert switches(graph) == tree.switches
    assert cables(graph) == tree.cables
    bigger = fat_tree(number(endpoints + 1), number(radix), number(ratio))
    assert bigger.tiers >= tree.tiers
    assert bigger.leaves >= tree.leaves


def test_beyond_three_tiers_is_refused() -> None:
    tree = fat_tree(number(8**3), number(8), ONE)
    assert np.isnan(tree.switches)
    with pytest.raises(UnsupportedError, match="more than three tiers"):
        tree_graph(tree)


@pytest.mark.parametrize("k", [7, 11, 15])
def test_dragonfly_counts_and_max_flow(k: int) -> None:
    shape = Dragonfly.balanced(number(k))
    h = (k + 1) // 4
    assert shape.endpoints == 4 * h**4 + 2 * h**2  # Kim et al. 2008: N = ap(ah + 1) with a = 2p = 2h
    graph = dragonfly_graph(shape)
    assert (switches(graph), cables(graph), most_ports(graph)) == (shape.switches, shape.cables, k)
    per_group = int(shape.routers * shape.terminals)
    small = int(shape.groups) // 2
    assert flow_links(graph, range(small * per_group)) == shape.bisection_links
    assert max(switch_hops(graph, 0, other) for other in range(1, int(shape.endpoints))) == shape.switch_hops


def test_nvl72_domain() -> None:
    domain = ScaleUp(number(72), number(18), number(1))
    graph = scale_up_graph(domain)
    # 18 NVLink5 links per GPU, one to each of 18 switch chips; a link is 50 GB/s each way, 1.8 TB/s both ways.
    assert (cables(graph), switches(graph)) == (domain.cables, 18) == (1296, 18)
    assert domain.cables * 100e9 == pytest.approx(130e12, rel=0.01)  # "130 TB/s" of the published rack
    assert flow_links(graph, range(36)) == domain.bisection_links == 648


def test_latency_grows_by_the_switches_on_the_way() -> None:
    trees = fat_tree(np.array([64.0, 1024.0, 16384.0]), number(64), ONE)
    assert trees.latency_s(number(1e-6), number(0.15e-6)) == pytest.approx([1e-6, 1.3e-6, 1.6e-6])
