"""Seconds of collectives on the level of the fabric their group crosses (alpha-beta model)."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column
from costmodels.device import Device

RING_STEP_S = 1.5e-5
"""One step of a ring inside a domain: a chunk is received, reduced and passed on (order of magnitude of NCCL with large
messages; 2·(n - 1) steps are an all-reduce)."""

SCALE_UP_STEP_S = 3.4e-6
SCALE_OUT_STEP_S = 1.4e-5
"""One step of a ring through several domains, over scale-up links and over the network (there beside the fabric's own
latency): what NCCL takes them to be where it chooses its algorithms (hwLatencies of NVLINK and NET, Ring, Simple, in
https://github.com/NVIDIA/nccl/blob/master/src/graph/tuning.cc, 2026-06)."""


def members_per_domain(size: Column, stride: Column, device: Device) -> Column:
    """How many of a group's members share one scale-up domain.

    Ranks are laid out with the group's neighbours ``stride`` ranks apart, as Megatron-LM orders them
    (tensor, context, data, pipeline from the inside out).
    """
    return np.clip(np.floor(device.scale_up_domain / stride), 1.0, size)


def scale_up_bandwidth(members: Column, device: Device, efficiency: Column) -> Column:
    """Achieved scale-up bytes/s per accelerator for a group with ``members`` in the domain.

    In a full mesh a group reaches only the links between its own members: (g-1)/(domain-1) of the total.
    """
    links = np.where(device.scale_up_domain > 1, (members - 1) / np.maximum(device.scale_up_domain - 1, 1), 1.0)
    share = np.where((device.scale_up_mesh > 0) & (members > 1), np.minimum(links, 1.0), 1.0)
    return device.scale_up_bytes_per_s * efficiency * share


def scale_out_bandwidth(span: Column, device: Device, efficiency: Column) -> Column:
    """Achieved scale-out bytes/s per accelerator of a group spanning ``span`` consecutive ranks."""
    beyond_leaf = np.where(span > device.leaf_accelerators, device.oversubscription, 1.0)
    return device.scale_out_bytes_per_s * efficiency / beyond_leaf


def group_bandwidth(size: Column, stride: Column, device: Device, up: Column, out: Column) -> Column:
    """Bytes/s at which each member of a group can send around a ring through all members.

    A group inside one domain runs at scale-up speed. A larger one is limited by the slower of the scale-up links
    and of the network interfaces of its members in one server, which it uses together (one ring per interface).

    Args:
        size: members.
        stride: distance between neighbouring ranks.
        device: the hardware.
        up: achieved share of nominal scale-up bandwidth.
        out: achieved share of nominal scale-out bandwidth.
    """
    members = members_per_domain(size, stride, device)
    inside = scale_up_bandwidth(members, device, up)
    network = members * scale_out_bandwidth(size * stride, device, out)
    through_network = np.where(members > 1, np.minimum(inside, network), network)
    return np.where(size <= members, inside, through_network)


def ring_latency_s(size: Column, stride: Column, device: Device) -> Column:
    """Latency of an all-gather or reduce-scatter: the steps of a ring through all members, one after the other.

    It grows with the number of members, which is what makes sharding over thousands of ranks slow.

    Source: Jeaugey 2025, *PAT: a new algorithm for all-gather and reduce-scatter operations at scale*, section 1.
    """
    members = members_per_domain(size, stride, device)
    domains = size / members
    through = (size - domains) * SCALE_UP_STEP_S
    through = through + (domains - 1.0) * (SCALE_OUT_STEP_S + device.scale_out_latency_s)
    return np.where(domains > 1, through, (members - 1.0) * RING_STEP_S)


def all_reduce_latency_s(size: Column, stride: Column, device: Device) -> Column:
    """Latency of one half of an all-reduce: the steps of a ring inside a domain, a tree over the domains."""
    members = members_per_domain(size, stride, device)
    levels = np.ceil(np.log2(np.maximum(size / members, 1.0)))
    return (members - 1.0) * RING_STEP_S + levels * device.scale_out_latency_s


def tree_latency_s(size: Column, stride: Column, device: Device) -> Column:
    """Latency of an exchange of all with all: one message per level of a binary tree over the members."""
    hop = np.where(
        size <= members_per_domain(size, stride, device), device.scale_up_latency_s, device.scale_out_latency_s
    )
    return np.ceil(np.log2(np.maximum(size, 1.0))) * hop


def gather_seconds_per_byte(size: Column, bandwidth: Column) -> Column:
    """Seconds per byte of an all-gather or reduce-scatter over ``size`` members: (n-1)/n of them cross each link.

    Source: Thakur et al. 2005, *Optimization of Collective Communication Operations in MPICH*, ring algorithm.
    """
    return np.where(size > 1, (size - 1) / size / bandwidth, 0.0)


def gather_seconds(total_bytes: Column, size: Column, bandwidth: Column, latency_s: Column) -> Column:
    """All-gather (or reduce-scatter) of ``total_bytes`` over ``size`` members.

    An all-reduce is a reduce-scatter followed by an all-gather: twice this.
    """
    return total_bytes * gather_seconds_per_byte(size, bandwidth) + np.where(size > 1, latency_s, 0.0)


def all_reduce_seconds(
    total_bytes: Column, size: Column, stride: Column, device: Device, up: Column, out: Column
) -> Column:
    """All-reduce of ``total_bytes``: a ring inside a domain and trees between domains, at once chunk by chunk.

    Each domain sends and receives its sum once over all its network interfaces: (domains - 1)/domains of twice the
    bytes, where a ring through all members would send (n - 1)/n.

    Source: Sanders et al. 2009, *Two-tree algorithms for full bandwidth broadcast, reduction and scan* (the trees that
    NCCL uses between servers).
    """
    members = members_per_domain(size, stride, device)
    domains = size / members
    inside = np.where(members > 1, (members - 1) / members / scale_up_bandwidth(members, device, up), 0.0)
    network = members * scale_out_bandwidth(size * stride, device, out)
    outside = np.where(domains > 1, (domains - 1) / domains / network, 0.0)
    latency_s = np.where(size > 1, all_reduce_latency_s(size, stride, device), 0.0)
    return 2.0 * (total_bytes * np.maximum(inside, outside) + latency_s)


def merged_share(copies: Column, size: Column, stride: Column, device: Device) -> Column:
    """Messages between domains over those sent otherwise, where copies of a token for one domain are merged into one.

    Args:
        copies: of a token, for members drawn evenly.
        size: members.
        stride: distance between neighbouring ranks.
        device: the hardware.

    Returns:
        The expected number of domains among ``copies`` draws, over ``copies``: n·(1 - (1 - 1/n)^copies)/copies.
    """
    domains = size / members_per_domain(size, stride, device)
    drawn = np.maximum(copies, 1.0)
    return domains * (1.0 - (1.0 - 1.0 / domains) ** drawn) / drawn


def all_to_all_seconds(
    send_bytes: Column,
    size: Column,
    stride: Column,
    device: Device,
    up: Column,
    out: Column,
    leaving: Column,
) -> Column:
    """All-to-all in which every member holds ``send_bytes``, 1/size of them for each member (itself included).

    The part for members of the same domain and the part for the others travel at once on their own links; ``leaving``
    is the share of the latter that is sent at all (:func:`merged_share`).
    """
    members = members_per_domain(size, stride, device)
    inside = send_bytes * (members - 1) / size / scale_up_bandwidth(members, device, up)
    outside = leaving * send_bytes * (size - members) / size / scale_out_bandwidth(size * stride, device, out)
    return np.where(size > 1, np.maximum(inside, outside) + tree_latency_s(size, stride, device), 0.0)


def neighbour_seconds(
    message_bytes: Column, distance: Column, count: Column, device: Device, up: Column, out: Column
) -> Column:
    """One message to the rank ``distance`` away, the slowest of a chain of ``count`` such neighbours (a pipeline)."""
    inside = distance * count <= device.scale_up_domain
    # In a full mesh a pair has one link of its own.
    pair = scale_up_bandwidth(np.full_like(device.scale_up_domain, 2.0), device, up)
    bandwidth = np.where(inside, pair, scale_out_bandwidth(distance, device, out))
    latency = np.where(inside, device.scale_up_latency_s, device.scale_out_latency_s)
    return message_bytes / bandwidth + latency
