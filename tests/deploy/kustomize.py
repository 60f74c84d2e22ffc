"""Render a kustomization the way `kubectl kustomize` does, for machines without it.

It does what deploy/kubernetes uses and refuses the rest: resources, configMapGenerator (with its hash), patches by
target (merged and JSON), images, namespace. Where kubectl is present a test holds the two against each other.
Must not: know what is deployed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

_KNOWN = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator", "patches", "images"}
_MERGED_BY = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
}
_SAFE = str.maketrans("013ae", "ghkmt")
"""Kustomize's own alphabet of hashes: no vowels and no look-alikes."""


def render(folder: Path) -> list[Document]:
    """Render a base or an overlay: its documents, with generated names in place."""
    documents = _gather(folder)
    renamed = {name: f"{name}-{_hash(found)}" for found in documents if (name := _generated(found))}
    for found in documents:
        _walk(found, lambda key, value: _refer(key, value, renamed))
        if name := found["metadata"].pop(" generated", None):
            found["metadata"]["name"] = renamed[name]
    return documents


def _gather(folder: Path) -> list[Document]:
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert wanted.keys() <= _KNOWN, f"{folder}: this renderer does not know {wanted.keys() - _KNOWN}"
    documents: list[Document] = []
    for name in wanted.get("resources", ()):
        place = folder / name
        documents += _gather(place) if place.is_dir() else read(place)
    for generator in wanted.get("configMapGenerator", ()):
        _generate(generator, folder, documents)
    for patch in wanted.get("patches", ()):
        _patch(documents, patch["target"], yaml.safe_load((folder / patch["path"]).read_text(encoding="utf-8")))
    for image in wanted.get("images", ()):
        for found in documents:
            _walk(found, lambda key, value, image=image: _picture(key, value, image))
    for found in documents:
        found["metadata"]["namespace"] = wanted["namespace"]
    return documents


def read(path: Path) -> list[Document]:
    """Read every document of a file; what an anchor stands for is a copy of its own."""
    loaded = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return [json.loads(json.dumps(found)) for found in loaded if found]


def _generate(generator: Document, folder: Path, documents: list[Document]) -> None:
    lines = list(generator.get("literals", ()))
    for name in generator.get("envs", ()):
        lines += [line for line in (folder / name).read_text().splitlines() if line and not line.startswith("#")]
    values = dict(line.split("=", 1) for line in lines)
    name = generator["name"]
    if generator.get("behavior") == "merge":
        (known,) = (found for found in documents if _generated(found) == name)
        known["data"] |= values
    else:
        metadata = {"name": name, " generated": name}
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": values})


def _generated(found: Document) -> str | None:
    name: str | None = found["metadata"].get(" generated")
    return name


def _hash(found: Document) -> str:
    said = {"data": found["data"], "kind": "ConfigMap", "name": ""}  # kustomize looks the name up where it is not
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(_SAFE)


def _patch(documents: list[Document], target: Document, body: Any) -> None:
    hit = [found for found in documents if _is_meant(found, target)]
    assert hit, f"a patch that meets nothing: {target}"
    for found in hit:
        own = json.loads(json.dumps(body))
        if isinstance(own, list):
            for operation in own:
                _operate(found, operation)
        else:
            for key in ("apiVersion", "kind", "metadata"):
                own.pop(key)
            _merge(found, own)


def _is_meant(found: Document, target: Document) -> bool:
    given = {"kind": found["kind"], "name": found["metadata"]["name"]}
    return all(re.fullmatch(pattern, given[key]) for key, pattern in target.items())


def _merge(into: Document, patch: Document) -> None:
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif isinstance(value, list) and key in _MERGED_BY and key in into:
            _merge_list(into[key], value, _MERGED_BY[key])
        else:
            into[key] = value


def _merge_list(into: list[Document], patch: list[Document], by: str) -> None:
    known = {item[by]: item for item in into}
    for item in patch:
        if item[by] in known:
            _merge(known[item[by]], item)
        else:
            into.append(item)


def _operate(found: Document, operation: Document) -> None:
    *above, last = operation["path"].strip("/").split("/")
    place: Any = found
    for part in above:
        place = place[int(part)] if isinstance(place, list) else place[part]
    match operation["op"], last:
        case "remove", _:
            del place[last]
        case "add", "-":
            place.append(operation["value"])
        case "add" | "replace", _:
            place[last] = operation["value"]
        case other:
            raise AssertionError(f"this renderer does not know {other}")


def _walk(found: Any, visit: Callable[[str, Any], Any]) -> None:
    if isinstance(found, dict):
        for key, value in found.items():
            found[key] = visit(key, value)
            _walk(found[key], visit)
    elif isinstance(found, list):
        for item in found:
            _walk(item, visit)


def _refer(key: str, value: Any, renamed: dict[str, str]) -> Any:
    if key in ("configMapRef", "configMapKeyRef", "configMap") and isinstance(value, dict):
        return value | {"name": renamed.get(value["name"], value["name"])}
    return value


def _picture(key: str, value: Any, image: Document) -> Any:
    if key != "image" or not isinstance(value, str) or re.sub(r"(:[^/]+|@.+)$", "", value) != image["name"]:
        return value
    name = image.get("newName", image["name"])
    return f"{name}@{image['digest']}" if "digest" in image else f"{name}:{image['newTag']}"
