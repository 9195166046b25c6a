"""The weights that timm publishes on the Hugging Face Hub, by their tags there."""

from pathlib import Path

from pipeline.networks.published import Published
from pipeline.networks.timm import PREFIX

FILE = "model.safetensors"


def published(network: str) -> dict[str, Published]:
    """The weights for one of timm's networks (`timm/<network>`) by their tags; `DEFAULT` is another
    name for those that timm takes by itself. A name says nothing of the file's sha256."""
    import timm

    model = network.removeprefix(PREFIX)
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]
    seen = {tag: timm.get_pretrained_cfg(f"{model}.{tag}") for tag in tags}
    known = {tag: _published(cfg) for tag, cfg in seen.items() if _is_timms(cfg)}
    default = timm.get_pretrained_cfg(model)
    return known | ({"DEFAULT": known[default.tag]} if default and default.tag in known else {})


def _is_timms(cfg) -> bool:
    """Whether its file is on the hub, with timm's own names of weights."""
    return str(cfg.hf_hub_id).startswith("timm/") and not cfg.hf_hub_filename


def _published(cfg) -> Published:
    return Published(
        name=cfg.tag,
        file=f"{cfg.hf_hub_id}/{FILE}",
        digits="",
        normalisation={"mean": list(cfg.mean), "std": list(cfg.std)},
        folder="",
        cached=lambda: _cached(cfg.hf_hub_id),
        fetch=lambda: _fetch(cfg.hf_hub_id),
    )


def _cached(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache  # which comes with timm

    found = try_to_load_from_cache(repository, FILE)
    return Path(found) if isinstance(found, str) else None


def _fetch(repository: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, FILE))
