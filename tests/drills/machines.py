"""Machines that share nothing but an object store, for drills that lose them."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Machines:
    """A cluster whose head runs no workers, and machines by name: raylets, each with folders of its own."""

    cluster: object
    homes: Path
    variables: dict[str, str]
    nodes: dict[str, object] = field(default_factory=dict)
    temporary: dict[str, Path] = field(default_factory=dict)

    def join(self, name):
        """Start a machine, or start it again with the home it had."""
        home = self.homes / name
        home.mkdir(exist_ok=True)
        self.temporary[name] = Path(tempfile.mkdtemp(prefix="machine-"))
        self.nodes[name] = self.cluster.add_node(
            num_cpus=1,
            temp_dir=tempfile.mkdtemp(prefix="ray-"),
            env_vars={"HOME": str(home), "TMPDIR": str(self.temporary[name])} | self.variables,
        )

    def lose(self, name):
        self.cluster.remove_node(self.nodes.pop(name), allow_graceful=False)

    def cached_shards(self, name, digest):
        cache = self.homes / name / ".cache/lia/shards" / digest
        return sorted(str(file.relative_to(cache)) for file in cache.rglob("*.tar"))

    def kept(self, name):
        """Folders that a machine keeps of its work."""
        return list(self.temporary[name].glob("lia-*"))
