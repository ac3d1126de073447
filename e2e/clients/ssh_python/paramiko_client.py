"""The behaviours of an SSH client, by paramiko. Prints one line of JSON for each."""

import base64
import concurrent.futures
import hashlib
import json
import os
import tempfile

import paramiko


def connect():
    kind, key = os.environ["SSH_HOST_KEY"].split()[:2]
    client = paramiko.SSHClient()
    known = paramiko.Ed25519Key(data=base64.b64decode(key))
    client.get_host_keys().add(f"[127.0.0.1]:{os.environ['SSH_PORT']}", kind, known)
    login = {"password": os.environ["SSH_TOKEN"]} if "SSH_TOKEN" in os.environ else {"key_filename": os.environ["SSH_KEY"]}
    client.connect(
        "127.0.0.1", int(os.environ["SSH_PORT"]), os.environ["SSH_USER"], allow_agent=False, look_for_keys=False, **login
    )
    return client


def run(client, line, stdin=b""):
    into, out, err = client.exec_command(line)
    into.write(stdin)
    into.channel.shutdown_write()
    said, complained = out.read(), err.read()
    return {"out": said.decode(errors="replace")[:200], "err": complained.decode()[:200], "size": len(said),
            "sha256": hashlib.sha256(said).hexdigest(), "status": out.channel.recv_exit_status()}


def transfer(client):
    content = os.urandom(300_000)
    with tempfile.TemporaryDirectory() as here, client.open_sftp() as sftp:
        for name, text in (("a", content), ("b", b"")):
            with open(f"{here}/{name}", "wb") as file:
                file.write(text)
        sftp.put(f"{here}/a", f"{here}/there")
        sftp.rename(f"{here}/there", f"{here}/renamed")
        sftp.get(f"{here}/renamed", f"{here}/back")
        with open(f"{here}/back", "rb") as file:
            same = file.read() == content
        return {"same": same, "listed": sorted(sftp.listdir(here)), "size": sftp.stat(f"{here}/back").st_size}


def concurrent_runs(client):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        return [one["out"] for one in pool.map(lambda i: run(client, f"echo {i}"), range(20))]


with connect() as connection:
    for behaviour, act in {
        "exec": lambda: run(connection, "printf out; printf err >&2; exit 3"),
        "input": lambda: run(connection, "cat", b"to and fro\n" * 1000),
        "large": lambda: run(connection, "printf '%01000000d' 7"),
        "concurrent": lambda: concurrent_runs(connection),
        "files": lambda: transfer(connection),
    }.items():
        print(json.dumps({"behaviour": behaviour, "saw": act()}), flush=True)
