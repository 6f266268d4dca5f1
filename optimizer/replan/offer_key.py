"""The key of an offer: what makes two prices prices of the same thing, as one text that books and histories keep."""

from __future__ import annotations

from typing import NamedTuple

from catalogs.offer import Tenure

SEPARATOR = "|"
"""Between the parts of a key; no part has it (:mod:`optimizer.replan.formats` refuses it)."""


class OfferKey(NamedTuple):
    """The parts of a key.

    Attributes:
        provider: in lower case.
        region, instance: as the book names them.
        accelerator: catalog name.
        per_unit: accelerators in the smallest unit sold.
        tenure: way of paying.
    """

    provider: str
    region: str
    instance: str
    accelerator: str
    per_unit: int
    tenure: Tenure

    @classmethod
    def of(cls, text: str) -> OfferKey:
        """The parts of a key (the inverse of :func:`offer_key`)."""
        provider, region, instance, accelerator, per_unit, tenure = text.split(SEPARATOR)
        return cls(provider, region, instance, accelerator, int(per_unit), tenure)  # type: ignore[arg-type]

    @property
    def place(self) -> str:
        """Provider and region, which data pays to leave, as the start of every key there."""
        return SEPARATOR.join((self.provider, self.region, ""))

    @property
    def seller(self) -> str:
        """Provider, region and instance as a reader names them."""
        return " ".join(part for part in (self.provider, self.region, self.instance) if part)

    @property
    def way_of_paying(self) -> str:
        """The tenure as a reader names it."""
        return self.tenure.replace("_", " ")


def offer_key(provider: str, region: str, instance: str, accelerator: str, per_unit: int, tenure: Tenure) -> str:
    """The key of an offer.

    >>> offer_key("GCP", "us-east4", "a3-highgpu-8g", "h100-sxm-80g", 8, "spot")
    'gcp|us-east4|a3-highgpu-8g|h100-sxm-80g|8|spot'
    """
    return SEPARATOR.join((provider.lower(), region, instance, accelerator, str(per_unit), tenure))


def price_unit(key: str) -> str:
    """What prices of an offer are told in, whatever its book has them in.

    >>> price_unit("gcp|us-east4|a3-highgpu-8g|h100-sxm-80g|8|on_demand")
    'USD per accelerator-hour'
    """
    return "USD per server" if OfferKey.of(key).tenure == "purchase" else "USD per accelerator-hour"


def offer_words(key: str) -> str:
    """An offer of a price book as a reader names it.

    >>> offer_words("gcp|us-east4|a3-highgpu-8g|h100-sxm-80g|8|on_demand")
    'gcp us-east4 a3-highgpu-8g on demand'
    """
    parts = OfferKey.of(key)
    return f"{parts.seller} {parts.way_of_paying}"
