"""The scale-out network of a cluster in closed form: switches, cables, transceivers, bisection, hops, latency.

A fat tree of switches with ``k`` ports (Leiserson 1985; Al-Fares et al. 2008, section 3): a leaf has ``d`` ports down
and ``u`` up, ``d / u`` is the oversubscription. One leaf is one tier; ``k`` leaves under spines are two tiers; ``k``
such pods, whose spines have half of their ports up, under cores are three. Rail-optimised wiring (accelerator ``i`` of
every server on leaf ``i`` of its group) fills the same tree in another order: the counts are those of whole groups.

Every function takes and gives arrays; the graph they are tested against is :mod:`optimizer.fabric_graph`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodels.columns import Column, Columns


@dataclass(frozen=True)
class Tree(Columns):
    """A fat tree that connects so many endpoints.

    Attributes:
        endpoints: network ports of accelerators.
        radix: ports of a switch.
        down, up: ports of a leaf towards endpoints and towards spines (``up`` is 0 for a single switch).
        tiers: 1, 2 or 3; NaN where three tiers do not reach.
        leaves, spines, cores: switches per tier.
        pods: groups of leaves under the same spines (1 below three tiers).
        endpoint_links, leaf_links, core_links: cables from endpoints to leaves, leaves to spines, spines to cores.
    """

    endpoints: Column
    radix: Column
    down: Column
    up: Column
    tiers: Column
    leaves: Column
    spines: Column
    cores: Column
    pods: Column
    endpoint_links: Column
    leaf_links: Column
    core_links: Column

    @property
    def switches(self) -> Column:
        """Switches in all."""
        return self.leaves + self.spines + self.cores

    @property
    def cables(self) -> Column:
        """Cables in all, one per link."""
        return self.endpoint_links + self.leaf_links + self.core_links

    @property
    def transceivers(self) -> Column:
        """Optical modules: two per link (copper at the endpoints would save theirs)."""
        return 2.0 * self.cables

    @property
    def bisection_links(self) -> Column:
        """Links between two halves of the endpoints, split along leaves (two tiers) or pods (three).

        It is bounded by what the endpoints of one half send, by what their leaves pass up, and by the cores.
        """
        half = self.endpoints / 2.0
        by_leaves = np.where(self.tiers > 1, self.leaf_links / 2.0, np.inf)
        by_cores = np.where(self.tiers > 2, self.core_links / 2.0, np.inf)
        return np.minimum(np.minimum(half, by_leaves), by_cores)

    @property
    def switch_hops(self) -> Column:
        """Switches on the longest shortest path between two endpoints: 1, 3 or 5."""
        return 2.0 * self.tiers - 1.0

    def latency_s(self, first_hop_s: Column, hop_s: Column) -> Column:
        """Seconds of a small message between the farthest endpoints.

        Args:
            first_hop_s: end to end through one switch, adapters included.
            hop_s: each further switch.
        """
        return first_hop_s + (self.switch_hops - 1.0) * hop_s


def split_ports(radix: Column, oversubscription: Column) -> tuple[Column, Column]:
    """Ports of a leaf down and up: the most endpoints whose ratio does not exceed ``oversubscription``.

    >>> split_ports(np.asarray(64.0), np.asarray([1.0, 3.0]))
    (array([32., 48.]), array([32., 16.]))
    """
    down = np.floor(radix * oversubscription / (1.0 + oversubscription) + 1e-9)
    return down, radix - down


def fat_tree(endpoints: Column, radix: Column, oversubscription: Column, rails: Column | None = None) -> Tree:
    """The smallest fat tree (fewest tiers) for ``endpoints`` ports.

    Leaves are as many as needed, spines and cores as many as spread every uplink evenly. ``rails`` above 1 wires
    rail-optimised: leaves come in groups of ``rails``, each group serving ``down`` whole servers.

    Args:
        endpoints: ports to connect.
        radix: ports of every switch.
        oversubscription: of the leaves, at least 1.
        rails: accelerator ports of one server (None or 1: any order).
    """
    rails = np.ones(()) if rails is None else rails
    endpoints, radix, oversubscription, rails = np.broadcast_arrays(
        *(np.asarray(one, dtype=np.float64) for one in (endpoints, radix, oversubscription, rails))
    )
    down, up = split_ports(radix, oversubscription)
    half = np.floor(radix / 2.0)
    by_rail = rails * np.ceil(endpoints / rails / down)
    leaves = np.where(rails > 1, by_rail, np.ceil(endpoints / down))
    one = endpoints <= radix
    two = ~one & (leaves <= radix)
    pods = np.ceil(leaves / half)
    three = ~one & ~two & (pods <= radix)
    tiers = np.select([one, two, three], [1.0, 2.0, 3.0], np.nan)

    # Two tiers: every leaf has the same number of links to every spine. Three: the same inside a pod.
    spines_two = up / _links_per_pair(up, radix / np.maximum(leaves, 1.0))
    cores_per_group = half / _links_per_pair(half, radix / np.maximum(pods, 1.0))
    zero = np.zeros_like(endpoints)
    leaves = np.where(one, 1.0, leaves)
    # In three tiers whole pods are built, so that every uplink has its place.
    leaves = np.where(three, pods * half, leaves)
    return Tree(
        endpoints=endpoints,
        radix=radix,
        down=np.where(one, radix, down),
        up=np.where(one, zero, up),
        tiers=tiers,
        leaves=np.where(np.isnan(tiers), np.nan, leaves),
        spines=np.select([one, two, three], [zero, spines_two, pods * up], np.nan),
        cores=np.select([one | two, three], [zero, up * cores_per_group], np.nan),
        pods=np.select([one | two, three], [np.ones_like(zero), pods], np.nan),
        endpoint_links=endpoints,
        leaf_links=np.select([one, two | three], [zero, leaves * up], np.nan),
        core_links=np.select([one | two, three], [zero, pods * up * half], np.nan),
    )


def _links_per_pair(uplinks: Column, most: Column) -> Column:
    """The largest divisor of ``uplinks`` that is at most ``most`` (at least 1)."""
    best = np.ones(np.broadcast_shapes(np.shape(uplinks), np.shape(most)))
    for links in range(2, int(np.max(uplinks, initial=1.0)) + 1):
        best = np.where((links <= most + 1e-9) & (uplinks % links == 0), float(links), best)
    return best


def full_fat_tree(radix: Column, tiers: Column) -> Tree:
    """The largest non-blocking tree of two or three tiers: k²/2 or k³/4 endpoints.

    >>> full_fat_tree(np.asarray(64.0), np.asarray(3.0)).switches.item()
    5120.0
    """
    radix, tiers = np.broadcast_arrays(np.asarray(radix, dtype=np.float64), np.asarray(tiers, dtype=np.float64))
    endpoints = np.where(tiers == 2, radix**2 / 2.0, radix**3 / 4.0)
    return fat_tree(endpoints, radix, np.ones(()))


@dataclass(frozen=True)
class Dragonfly(Columns):
    """A canonical dragonfly (Kim et al. 2008): groups of fully connected routers, groups fully connected.

    Attributes:
        terminals: endpoints per router (``p``).
        routers: per group (``a``).
        globals_: global links per router (``h``).
    """

    terminals: Column
    routers: Column
    globals_: Column

    @classmethod
    def balanced(cls, radix: Column) -> Dragonfly:
        """The balanced one, a = 2p = 2h, that fits switches of so many ports (k = p + a - 1 + h = 4h - 1)."""
        h = np.floor((np.asarray(radix, dtype=np.float64) + 1.0) / 4.0)
        return cls(terminals=h, routers=2.0 * h, globals_=h)

    @property
    def groups(self) -> Column:
        """Groups, each with one link to every other: a·h + 1."""
        return self.routers * self.globals_ + 1.0

    @property
    def endpoints(self) -> Column:
        """Endpoints: a·p·g."""
        return self.routers * self.terminals * self.groups

    @property
    def switches(self) -> Column:
        """Routers: a·g."""
        return self.routers * self.groups

    @property
    def cables(self) -> Column:
        """Links to endpoints, inside groups and between groups."""
        inside = self.groups * self.routers * (self.routers - 1.0) / 2.0
        return self.endpoints + inside + self.global_links

    @property
    def global_links(self) -> Column:
        """Links between groups: one for every pair."""
        return self.groups * (self.groups - 1.0) / 2.0

    @property
    def bisection_links(self) -> Column:
        """Global links between one half of the groups and the other (the odd group on the larger side)."""
        small = np.floor(self.groups / 2.0)
        return small * (self.groups - small)

    @property
    def switch_hops(self) -> Column:
        """Routers on the longest minimal path: local, global, local links between four routers."""
        return np.full(np.shape(self.routers), 4.0)


@dataclass(frozen=True)
class ScaleUp(Columns):
    """A scale-up domain: every accelerator has the same number of links to every switch (NVL72-style).

    Attributes:
        accelerators: in the domain.
        switches: switch chips.
        links_per_switch: links of one accelerator to one switch.
    """

    accelerators: Column
    switches: Column
    links_per_switch: Column

    @property
    def cables(self) -> Column:
        """Links in all."""
        return self.accelerators * self.switches * self.links_per_switch

    @property
    def bisection_links(self) -> Column:
        """Links between two halves of the accelerators: all of one half's."""
        return np.floor(self.accelerators / 2.0) * self.switches * self.links_per_switch
