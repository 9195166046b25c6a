"""Weights by the names that a library has for them: downloaded once, into the library's own cache,
and known by their sha256."""

from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from pipeline.core import files
from pipeline.core.errors import UserError, nearest
from pipeline.networks import timm_weights, torchvision_weights
from pipeline.networks.published import Published

LIBRARIES: dict[str, Callable[[str], dict[str, Published]]] = {
    "torchvision": torchvision_weights.published,
    "timm": timm_weights.published,
}


def faults(key: str, weights: str, sha256: str, network: str) -> list[UserError]:
    """Check a name, and the file where it is on this machine already; nothing is downloaded.

    Args:
        key: of params.yaml that holds the name, for messages.
        sha256: that the file is to have; "" = what the library says is enough.

    Returns:
        an error for a network without such weights, a name that is not known, another file.
    """
    library = LIBRARIES.get(network.partition("/")[0])
    if library is None:
        what, fix = f"'{network}' has no weights by name", "name a file (file, sha256)"
        libraries = " or ".join(f"{name}/..." for name in LIBRARIES)
        return [UserError(f"{key}.weights", what, f"{fix}, or use a network {libraries}")]
    known = library(network)
    if weights not in known:
        what = f"'{network}' has no weights '{weights}'"
        return [UserError(f"{key}.weights", what, nearest(weights, known))]
    if not (sha256 or known[weights].digits).startswith(known[weights].digits):
        what = f"the sha256 of '{known[weights].file}' begins with {known[weights].digits}"
        return [UserError(f"{key}.sha256", what, "correct it, or leave it out")]
    path = known[weights].cached()
    return _file_faults(key, known[weights], sha256, path) if path else []


def normalisation(network: str, sha256: str) -> dict[str, list[float]] | None:
    """What images of a file of weights for a library's network were normalised by: as the library
    says of its own file, if it is that, else of those that it takes by itself; None for other
    networks."""
    library = LIBRARIES.get(network.partition("/")[0])
    known = library(network) if library else {}
    own = [p for p in known.values() if p.digits and sha256.startswith(p.digits)]
    likely = [*own, *filter(None, [known.get("DEFAULT")]), *known.values()]
    return likely[0].normalisation if likely else None


def fetched(key: str, weights: str, sha256: str, network: str) -> tuple[Published, Path]:
    """The file, downloaded if it is not on this machine; `faults` has found none.

    Raises:
        UserError: it cannot be downloaded, or is another one.
    """
    published = LIBRARIES[network.partition("/")[0]](network)[weights]
    path = published.cached() or _fetch(key, published)
    errors = _file_faults(key, published, sha256, path)
    if errors:
        raise UserError.all(errors)
    return published, path


def _fetch(key: str, published: Published) -> Path:
    try:
        return published.fetch()
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        what = f"'{published.file}' cannot be downloaded ({reason})"
        by_hand = f"put it into {published.folder}, " if published.folder else ""
        fix = f"{by_hand}name a file of yours (file, sha256), or try again with a network"
        raise UserError(f"{key}.weights", what, fix) from None


def _file_faults(key: str, published: Published, sha256: str, path: Path) -> list[UserError]:
    here = files.sha256(path)
    if not published.digits and not sha256:
        what = f"'{published.file}' may be another file one day: 'sha256' is missing"
        return [UserError(f"{key}.sha256", what, f"add it; today's is {here}")]
    if not here.startswith(published.digits):
        what = f"'{path}' is broken: its sha256 begins with {here[: len(published.digits)]}"
        return [UserError(f"{key}.weights", what, "delete it: it is downloaded again")]
    if here.startswith(sha256):
        return []
    what = f"'{published.file}' is another file: its sha256 is {here}"
    return [UserError(f"{key}.sha256", what, "correct it, or leave it out")]
