"""Cross-references between catalog records: one small check per rule, each message saying how to fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from catalogs.catalog import KINDS, Catalog
from catalogs.errors import DataFileError
from catalogs.inheritance import GENERIC
from catalogs.naming import unknown_name
from catalogs.profile import PEAK_DTYPE, Profile
from catalogs.training import Training

Check = Callable[[Catalog], Iterator[str]]


def check_server_accelerators(catalog: Catalog) -> Iterator[str]:
    """Every server holds an accelerator of the catalog."""
    for server in catalog.servers.values():
        if server.accelerator not in catalog.accelerators:
            yield _unknown(f"server {server.name}", "accelerator", server.accelerator, catalog.accelerators)


def check_server_fabrics(catalog: Catalog) -> Iterator[str]:
    """Every fabric that a server names exists."""
    for server in catalog.servers.values():
        if server.fabric is not None and server.fabric not in catalog.fabrics:
            yield _unknown(f"server {server.name}", "fabric", server.fabric, catalog.fabrics)


def check_default_servers(catalog: Catalog) -> Iterator[str]:
    """At most one server is the default of its accelerator."""
    defaults = Counter(server.accelerator for server in catalog.servers.values() if server.default)
    for accelerator, count in sorted(defaults.items()):
        if count > 1:
            names = sorted(s.name for s in catalog.servers.values() if s.default and s.accelerator == accelerator)
            yield f"servers {', '.join(names)} are all the default for {accelerator}; keep 'default: true' in one"


def check_offer_accelerators(catalog: Catalog) -> Iterator[str]:
    """Every offer sells an accelerator of the catalog."""
    for offer in catalog.offers.values():
        if offer.accelerator not in catalog.accelerators:
            yield _unknown(f"offer {offer.name}", "accelerator", offer.accelerator, catalog.accelerators)


def check_offer_currencies(catalog: Catalog) -> Iterator[str]:
    """Every offer is priced in a currency with a known rate."""
    for offer in catalog.offers.values():
        yield from _without_rate(f"offer {offer.name}", offer.currency, catalog)


def check_region_currencies(catalog: Catalog) -> Iterator[str]:
    """Electricity of every region is priced in a currency with a known rate."""
    for region in catalog.regions.values():
        yield from _without_rate(f"region {region.name}", region.currency, catalog)


def check_offered_servers(catalog: Catalog) -> Iterator[str]:
    """Every accelerator on offer has a server to be planned in."""
    held = {server.accelerator for server in catalog.servers.values()}
    for accelerator in sorted({offer.accelerator for offer in catalog.offers.values()} & set(catalog.accelerators)):
        if accelerator not in held:
            yield f"accelerator {accelerator} is on offer but no server holds it; add one under servers/"


def check_interrupted_accelerators(catalog: Catalog) -> Iterator[str]:
    """Every published cluster is of an accelerator of the catalog."""
    for record in catalog.interruptions.values():
        if record.accelerator not in catalog.accelerators:
            yield _unknown(f"interruptions {record.name}", "accelerator", record.accelerator, catalog.accelerators)


def check_profile_accelerators(catalog: Catalog) -> Iterator[str]:
    """Every profile belongs to an accelerator of the catalog."""
    for profile in catalog.profiles.values():
        if profile.accelerator not in {*catalog.accelerators, GENERIC}:
            yield _unknown(f"profile {profile.name}", "accelerator", profile.accelerator, catalog.accelerators)


def check_profile_frameworks(catalog: Catalog) -> Iterator[str]:
    """Every profile belongs to a framework of the catalog that runs on the accelerator's vendor."""
    for profile in catalog.profiles.values():
        framework = catalog.frameworks.get(profile.framework)
        accelerator = catalog.accelerators.get(profile.accelerator)
        if framework is None and profile.framework != GENERIC:
            yield _unknown(f"profile {profile.name}", "framework", profile.framework, catalog.frameworks)
        elif framework is not None and accelerator is not None and accelerator.vendor not in framework.vendors:
            yield (
                f"profile {profile.name}: {framework.name} does not run on {accelerator.vendor} accelerators; "
                f"remove the profile or add {accelerator.vendor!r} to the framework's vendors"
            )


def check_profile_precisions(catalog: Catalog) -> Iterator[str]:
    """The accelerator of a profile has a peak at the profile's precision."""
    for profile in catalog.profiles.values():
        yield from _without_peak(f"profile {profile.name}", profile, "remove the profile", catalog)


def check_profile_parents(catalog: Catalog) -> Iterator[str]:
    """Every profile that a profile is inherited from exists, and no chain of them comes back to its start."""
    for profile in catalog.profiles.values():
        seen = [profile.name]
        parent = profile.inherited_from
        while parent is not None and parent in catalog.profiles and parent not in seen:
            seen.append(parent)
            parent = catalog.profiles[parent].inherited_from
        if parent == profile.name:
            yield f"profile {profile.name}: inherits from itself ({' -> '.join([*seen, parent])}); name a measured one"
        elif profile.inherited_from is not None and profile.inherited_from not in catalog.profiles:
            yield _unknown(f"profile {profile.name}", "inherited_from", profile.inherited_from, catalog.profiles)


def check_profile_keys(catalog: Catalog) -> Iterator[str]:
    """One profile per accelerator, framework and precision."""
    owner: dict[tuple[str, str, str], str] = {}
    for profile in catalog.profiles.values():
        key = (profile.accelerator, profile.framework, profile.precision)
        first = owner.setdefault(key, profile.name)
        if first != profile.name:
            yield f"profiles {first} and {profile.name} are both for {' × '.join(key)}; remove one"


def check_training_names(catalog: Catalog) -> Iterator[str]:
    """Every published training is of a model, on an accelerator and in a framework of the catalog."""
    for training in catalog.trainings.values():
        for field, known in (
            ("model", catalog.models),
            ("accelerator", catalog.accelerators),
            ("framework", catalog.frameworks),
        ):
            name = getattr(training, field)
            if name not in known:
                yield _unknown(f"training {training.name}", field, name, known)


def check_training_peaks(catalog: Catalog) -> Iterator[str]:
    """The accelerator of a published training has a peak at the precision of the training."""
    for training in catalog.trainings.values():
        yield from _without_peak(f"training {training.name}", training, "correct its precision", catalog)


CHECKS: tuple[Check, ...] = (
    check_server_accelerators,
    check_server_fabrics,
    check_default_servers,
    check_offer_accelerators,
    check_offer_currencies,
    check_region_currencies,
    check_offered_servers,
    check_interrupted_accelerators,
    check_profile_accelerators,
    check_profile_frameworks,
    check_profile_precisions,
    check_profile_parents,
    check_profile_keys,
    check_training_names,
    check_training_peaks,
)
"""Every rule, in the order in which problems are reported."""


def find_problems(catalog: Catalog) -> list[str]:
    """Everything wrong with a catalog: kinds that do not load, then cross-references that lead nowhere.

    A rule that needs a kind which does not load is skipped: the broken kind is already in the list.
    """
    problems = [problem for kind in KINDS if (problem := _load_problem(catalog, kind)) is not None]
    for check in CHECKS:
        try:
            problems += check(catalog)
        except DataFileError as error:
            if str(error) not in problems:
                raise
    return problems


def _load_problem(catalog: Catalog, kind: str) -> str | None:
    try:
        catalog.kind(kind)
    except DataFileError as error:
        return str(error)
    return None


def _without_peak(owner: str, one: Profile | Training, remedy: str, catalog: Catalog) -> Iterator[str]:
    """A complaint where the accelerator has no peak at the precision; one that is unknown is another check's."""
    accelerator = catalog.accelerators.get(one.accelerator)
    dtype = PEAK_DTYPE[one.precision]
    if accelerator is not None and dtype not in accelerator.peak_flops_per_s:
        yield (
            f"{owner}: {accelerator.name} has no {dtype} peak; {remedy} or add peak_flops_per_s.{dtype} "
            "to the accelerator"
        )


def _unknown(owner: str, field: str, name: str, known: Iterable[str]) -> str:
    return f"{owner}: {unknown_name(field, name, known)}"


def _without_rate(owner: str, currency: str, catalog: Catalog) -> Iterator[str]:
    """What is wrong with a currency of which the catalog has no rate."""
    if currency.lower() not in catalog.currencies:
        known = (code.upper() for code in catalog.currencies)
        yield f"{_unknown(owner, 'currency', currency, known)}; or add its rate under currencies/"
