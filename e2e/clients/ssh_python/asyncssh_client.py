"""The behaviours of an SSH client, by asyncssh. Prints one line of JSON for each."""

import asyncio
import hashlib
import json
import os
import tempfile

import asyncssh


def connect():
    known = asyncssh.import_known_hosts(f"[127.0.0.1]:{os.environ['SSH_PORT']} {os.environ['SSH_HOST_KEY']}\n")
    login = {"password": os.environ["SSH_TOKEN"], "client_keys": None} if "SSH_TOKEN" in os.environ else {
        "client_keys": [os.environ["SSH_KEY"]]}
    return asyncssh.connect(
        "127.0.0.1", int(os.environ["SSH_PORT"]), username=os.environ["SSH_USER"], known_hosts=known, agent_path=None,
        config=None, **login)


async def run(client, line, stdin=""):
    done = await client.run(line, input=stdin)
    return {"out": done.stdout[:200], "err": done.stderr[:200], "size": len(done.stdout),
            "sha256": hashlib.sha256(done.stdout.encode()).hexdigest(), "status": done.exit_status}


async def transfer(client):
    content = os.urandom(300_000)
    with tempfile.TemporaryDirectory() as here:
        with open(f"{here}/a", "wb") as file:
            file.write(content)
        async with client.start_sftp_client() as sftp:
            await sftp.put(f"{here}/a", f"{here}/there")
            await sftp.rename(f"{here}/there", f"{here}/renamed")
            await sftp.get(f"{here}/renamed", f"{here}/back")
            with open(f"{here}/back", "rb") as file:
                same = file.read() == content
            listed = sorted(await sftp.listdir(here))
            return {"same": same, "listed": listed, "size": (await sftp.stat(f"{here}/back")).size}


async def main():
    async with connect() as connection:
        for behaviour, act in {
            "exec": lambda: run(connection, "printf out; printf err >&2; exit 3"),
            "input": lambda: run(connection, "cat", "to and fro\n" * 1000),
            "large": lambda: run(connection, "printf '%01000000d' 7"),
            "concurrent": lambda: asyncio.gather(*(run(connection, f"echo {i}") for i in range(20))),
            "files": lambda: transfer(connection),
        }.items():
            print(json.dumps({"behaviour": behaviour, "saw": await act()}), flush=True)


asyncio.run(main())
