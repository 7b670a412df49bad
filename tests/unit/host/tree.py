"""A folder that stands for /: what the adapters read of /proc, /sys and /dev."""

from __future__ import annotations

from pathlib import Path


class Tree:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def link(self, path: str, target: str) -> None:
        """May dangle, as the links of /proc do here."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    def folder(self, path: str, mode: int = 0o755) -> Path:
        folder = self.root
        for name in path.split("/"):
            folder = folder / name
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        folder.chmod(mode)
        return folder

    def block_device(self, name: str, number: str) -> None:
        self.write(f"sys/class/block/{name}/dev", f"{number}\n")

    def process(
        self,
        pid: int,
        name: str,
        *,
        mounts: str,
        mount_namespace: str = "mnt:[1]",
        network_namespace: str = "net:[1]",
        cwd: str = "/",
        root: str = "/",
        maps: str = "",
    ) -> None:
        at = f"proc/{pid}"
        self.write(f"{at}/comm", f"{name}\n")
        self.write(f"{at}/mountinfo", mounts)
        self.write(f"{at}/maps", maps)
        self.link(f"{at}/cwd", cwd)
        self.link(f"{at}/root", root)
        self.link(f"{at}/ns/mnt", mount_namespace)
        self.link(f"{at}/ns/net", network_namespace)
        (self.root / at / "fd").mkdir()

    def open_file(self, pid: int, descriptor: int, path: str, mount_id: int) -> None:
        self.link(f"proc/{pid}/fd/{descriptor}", path)
        text = f"pos:\t0\nflags:\t0100002\nmnt_id:\t{mount_id}\nino:\t12\n"
        self.write(f"proc/{pid}/fdinfo/{descriptor}", text)
