"""What exists: accelerators, servers, fabrics, models, frameworks, profiles and price offers, each with its source."""

from catalogs.accelerator import Accelerator
from catalogs.catalog import KINDS, Catalog
from catalogs.errors import (
    ClusterplanError,
    DataFileError,
    InfeasibleError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)
from catalogs.fabric import Fabric
from catalogs.framework import Framework
from catalogs.model import Mla, Model, Moe
from catalogs.offer import Currency, Offer
from catalogs.profile import Profile
from catalogs.record import Record
from catalogs.region import Region
from catalogs.server import Server

__all__ = [
    "KINDS",
    "Accelerator",
    "Catalog",
    "ClusterplanError",
    "Currency",
    "DataFileError",
    "Fabric",
    "Framework",
    "InfeasibleError",
    "Mla",
    "Model",
    "Moe",
    "Offer",
    "Profile",
    "Record",
    "Region",
    "Server",
    "UnknownNameError",
    "UnsupportedError",
    "UsageError",
]
