"""The far end of an SSH session, in this process: paramiko's own server on loopback."""

from __future__ import annotations

import json
import threading

import paramiko

from storage_agent.coordinator.reaching import ssh


class Gateway(paramiko.ServerInterface):  # type: ignore[misc]
    """Takes one key, and answers each line with its id."""

    def __init__(self, accepted: paramiko.PKey) -> None:
        self.accepted = accepted
        self.commands: list[bytes] = []
        self.users: list[str] = []

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.users.append(username)
        is_right = username == ssh.USER and key == self.accepted
        return int(paramiko.AUTH_SUCCESSFUL if is_right else paramiko.AUTH_FAILED)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.commands.append(command)
        threading.Thread(target=echo, args=(channel,), daemon=True).start()
        return True


def echo(channel: paramiko.Channel) -> None:
    for line in channel.makefile("rb"):
        asked = json.loads(line)
        if asked["method"] == "die":
            channel.get_transport().close()
            return
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": asked["params"]}
        channel.sendall(json.dumps(answer).encode() + b"\n")
