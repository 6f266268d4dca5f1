"""Ring and all-to-all collectives of a rank (docs/cost-models.md: collectives)."""

from __future__ import annotations

import math

from tests.oracle.inputs import Device


def members(v: Device, size: float, stride: float) -> float:
    return min(max(math.floor(v.domain / stride), 1), size)


def up_bandwidth(v: Device, g: float) -> float:
    whole = v.up * v.e_up
    if v.mesh and g > 1 and v.domain > 1:
        return whole * min((g - 1) / max(v.domain - 1, 1), 1.0)
    return whole


def out_bandwidth(v: Device, span: float) -> float:
    return v.out * v.e_out / (v.over if span > v.leaf else 1.0)


def group_bandwidth(v: Device, size: float, stride: float) -> float:
    g = members(v, size, stride)
    if size <= g:
        return up_bandwidth(v, g)
    network = g * out_bandwidth(v, size * stride)
    return min(up_bandwidth(v, g), network) if g > 1 else network


def ring_latency(v: Device, size: float, stride: float) -> float:
    g = members(v, size, stride)
    if size <= g:
        return (g - 1) * 15e-6
    servers = size / g
    return (size - servers) * 3.4e-6 + (servers - 1) * (14e-6 + v.out_latency)


def all_reduce_latency(v: Device, size: float, stride: float) -> float:
    g = members(v, size, stride)
    return (g - 1) * 15e-6 + math.ceil(math.log2(max(size / g, 1))) * v.out_latency


def tree_latency(v: Device, size: float, stride: float) -> float:
    hop = v.up_latency if size <= members(v, size, stride) else v.out_latency
    return math.ceil(math.log2(max(size, 1))) * hop


def gather(total: float, size: float, bandwidth: float, latency: float) -> float:
    return total * (size - 1) / size / bandwidth + latency if size > 1 else 0.0


def all_reduce(v: Device, total: float, size: int, stride: int) -> float:
    if size <= 1:
        return 0.0
    g = members(v, size, stride)
    servers = size / g
    inside = (g - 1) / g / up_bandwidth(v, g) if g > 1 else 0.0
    outside = (servers - 1) / servers / (g * out_bandwidth(v, size * stride)) if servers > 1 else 0.0
    return 2 * (total * max(inside, outside) + all_reduce_latency(v, size, stride))


def merged(v: Device, copies: float, size: int, stride: int) -> float:
    domains = size / members(v, size, stride)
    return domains * (1 - (1 - 1 / domains) ** copies) / copies


def all_to_all(v: Device, held: float, size: int, stride: int, leaving: float) -> float:
    if size <= 1:
        return 0.0
    g = members(v, size, stride)
    inside = held * (g - 1) / size / up_bandwidth(v, g)
    outside = leaving * held * (size - g) / size / out_bandwidth(v, size * stride)
    return max(inside, outside) + tree_latency(v, size, stride)


def neighbour(v: Device, message: float, distance: int, count: int) -> float:
    if distance * count <= v.domain:
        return message / up_bandwidth(v, 2) + v.up_latency
    return message / out_bandwidth(v, distance) + v.out_latency
