"""Networks as graphs: built switch by switch, so that counts, bisection (max-flow), hops can be read off.

The planner uses the closed forms of :mod:`costmodels.fabric`; these graphs check them, and answer for a network that
has no closed form. Nodes are ``(kind, ...)`` tuples; an edge has ``links``, the number of parallel cables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeAlias

import networkx as nx

from catalogs.errors import UnsupportedError
from costmodels.fabric import Dragonfly, ScaleUp, Tree

Graph: TypeAlias = "nx.Graph[tuple[Hashable, ...]]"

ENDPOINT = "endpoint"


def tree_graph(tree: Tree, *, rails: int = 1) -> Graph:
    """The fat tree of one closed-form row, endpoint by endpoint.

    Args:
        tree: a row (0-d columns).
        rails: accelerators per server, for rail-optimised wiring.

    Raises:
        UnsupportedError: three tiers do not reach so many endpoints.
    """
    if not tree.tiers <= 3:
        raise UnsupportedError(
            f"{int(tree.endpoints)} ports need more than three tiers of {int(tree.radix)}-port switches"
        )
    graph: Graph = nx.Graph()
    tiers, leaves, down, up = int(tree.tiers), int(tree.leaves), int(tree.down), int(tree.up)
    for endpoint in range(int(tree.endpoints)):
        group, within = divmod(endpoint, rails * down)
        leaf = group * rails + within % rails if rails > 1 and tiers > 1 else endpoint // down
        _link(graph, (ENDPOINT, endpoint), ("leaf", leaf))
    if tiers == 1:
        return graph
    pods = int(tree.pods)
    per_pod = leaves // pods
    spines = int(tree.spines) // pods
    for leaf in range(leaves):
        pod = leaf // per_pod
        for port in range(up):
            _link(graph, ("leaf", leaf), ("spine", pod, port % spines))
    if tiers == 3:
        half = int(tree.radix) // 2
        cores = int(tree.cores) // spines
        for pod in range(pods):
            for spine in range(spines):
                for port in range(half):
                    _link(graph, ("spine", pod, spine), ("core", spine, port % cores))
    return graph


def dragonfly_graph(shape: Dragonfly) -> Graph:
    """The canonical dragonfly of one closed-form row."""
    graph: Graph = nx.Graph()
    groups, routers = int(shape.groups), int(shape.routers)
    terminals, outgoing = int(shape.terminals), int(shape.globals_)
    for group in range(groups):
        for router in range(routers):
            for terminal in range(terminals):
                _link(graph, (ENDPOINT, (group * routers + router) * terminals + terminal), ("router", group, router))
            for other in range(router):
                _link(graph, ("router", group, other), ("router", group, router))
        for step in range(1, groups - group):
            # Link number step - 1 of this group meets link number -step of the other (palm-tree arrangement).
            far = group + step
            _link(
                graph,
                ("router", group, (step - 1) // outgoing),
                ("router", far, (groups - 1 - step) // outgoing),
            )
    return graph


def scale_up_graph(domain: ScaleUp) -> Graph:
    """A scale-up domain: every accelerator wired to every switch chip."""
    graph: Graph = nx.Graph()
    for accelerator in range(int(domain.accelerators)):
        for switch in range(int(domain.switches)):
            _link(graph, (ENDPOINT, accelerator), ("leaf", switch), int(domain.links_per_switch))
    return graph


def switches(graph: Graph) -> int:
    """Switches in a network."""
    return sum(node[0] != ENDPOINT for node in graph)


def cables(graph: Graph) -> int:
    """Cables in a network, parallel ones counted each."""
    return int(graph.size(weight="links"))


def most_ports(graph: Graph) -> int:
    """Ports in use on the switch that uses most."""
    return max(int(graph.degree(node, weight="links")) for node in graph if node[0] != ENDPOINT)


def switch_hops(graph: Graph, first: int, second: int) -> int:
    """Switches on the shortest path between two endpoints."""
    return int(nx.shortest_path_length(graph, (ENDPOINT, first), (ENDPOINT, second))) - 1


def flow_links(graph: Graph, side: Iterable[int]) -> int:
    """Max-flow, in links, from the endpoints of ``side`` to all other endpoints.

    Endpoints are merged per switch (a bundle of links instead of one node each), which changes no cut between switches.
    """
    sources = set(side)
    flow: nx.DiGraph[tuple[Hashable, ...]] = nx.DiGraph()
    source: tuple[Hashable, ...] = ("source",)
    sink: tuple[Hashable, ...] = ("sink",)
    ends: Counter[tuple[tuple[Hashable, ...], tuple[Hashable, ...]]] = Counter()
    for one, two, data in graph.edges(data=True):
        links = data["links"]
        if ENDPOINT in (one[0], two[0]):
            endpoint, switch = (one, two) if one[0] == ENDPOINT else (two, one)
            edge = (source, switch) if endpoint[1] in sources else (switch, sink)
            ends[edge] += int(links)
        else:
            flow.add_edge(one, two, capacity=links)
            flow.add_edge(two, one, capacity=links)
    for edge, capacity in ends.items():
        flow.add_edge(*edge, capacity=capacity)
    return int(nx.maximum_flow_value(flow, source, sink))


def _link(graph: Graph, one: tuple[Hashable, ...], two: tuple[Hashable, ...], links: int = 1) -> None:
    if graph.has_edge(one, two):
        graph.edges[one, two]["links"] += links
    else:
        graph.add_edge(one, two, links=links)
