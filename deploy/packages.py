"""What the program is built of, as cargo says it."""

import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def cargo_metadata():
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    return json.loads(subprocess.check_output(command, cwd=ROOT))


def needed(metadata, start):
    """Ids of what the package is built of, without what only tests need."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, rest = set(), [start]
    while rest:
        package = rest.pop()
        if package not in found:
            found.add(package)
            kinds = [(each["pkg"], {kind["kind"] for kind in each["dep_kinds"]}) for each in nodes[package]["deps"]]
            rest += [name for name, kinds in kinds if kinds != {"dev"}]
    return found
