"""A client of node statistics that others wrote: websockets (PyPI). Arguments: three addresses, two up and one down."""

import asyncio
import json
import sys
from collections import OrderedDict

import websockets
from websockets.asyncio.client import connect

FIELDS = ["address", "cpuUsed", "diskTotal", "diskUsed", "diskUsedPercent", "memoryTotal", "memoryUsed",
          "memoryUsedPercent", "error"]
BOUND = 60


async def receive(socket):
    return await asyncio.wait_for(socket.recv(), BOUND)


def check(text, host, up, down=()):
    """The frame is compact JSON with the fields in order; nodes that are down are listed with zeros and an error."""
    assert isinstance(text, str), "a text frame"
    reply = json.loads(text, object_pairs_hook=OrderedDict)
    assert list(reply) == ["host", "nodes", "error"], text
    assert reply["host"] == host and reply["error"] == "", text
    assert list(reply["nodes"]) == sorted([*up, *down]), text
    assert json.dumps(reply, separators=(",", ":")) == text, text
    for address, node in reply["nodes"].items():
        assert list(node) == FIELDS, text
        assert node["address"] == address, text
        if address in down:
            assert node["error"], text
            assert all(node[field] == 0 for field in FIELDS[1:-1]), text
            continue
        assert node["error"] == "", text
        for kind in ["disk", "memory"]:
            used, total = node[kind + "Used"], node[kind + "Total"]
            assert 0 < used <= total, text
            assert abs(node[kind + "UsedPercent"] - 100 * used / total) < 1e-6, text
        assert 0 <= node["cpuUsed"] <= 100, text
    return reply


async def ask(socket, request):
    await socket.send(json.dumps(request))
    return await receive(socket)


async def refused(status, **options):
    try:
        async with connect(**options):
            raise AssertionError(f"{options} was accepted")
    except websockets.exceptions.InvalidStatus as error:
        assert error.response.status_code == status, error


async def until_up(one, up, down):
    """The nodes may just have been started."""
    async with connect(f"ws://{one}/") as socket:
        while True:
            reply = json.loads(await ask(socket, {"type": 2, "statType": 0}))
            if all(not reply["nodes"][address]["error"] for address in up):
                return
            await socket.send(json.dumps({"type": 0, "statType": 0}))
            await asyncio.sleep(0.05)


async def main(one, two, down):
    up = [one, two]
    await until_up(one, up, [down])
    async with connect(f"ws://{one}/any/path?at=all", origin=f"http://{one}") as socket:
        check(await ask(socket, {"type": 2, "statType": 0}), one, up, [down])
        check(await ask(socket, {"type": 1, "statType": 0}), one, [one])
        # Discovery has no reply: the next message answers the next request.
        await socket.send(json.dumps({"type": 0, "statType": 0}))
        check(await ask(socket, {"type": 1, "statType": 0}), one, [one])
        for request, why in [("{", "not JSON"), ('{"type":5,"statType":0}', "unknown type 5")]:
            await socket.send(request)
            reply = json.loads(await receive(socket), object_pairs_hook=OrderedDict)
            assert list(reply) == ["host", "nodes", "error"] and why in reply["error"], reply
        pong = await socket.ping(b"are you there")
        await asyncio.wait_for(pong, BOUND)
        await socket.send(json.dumps({"type": 2, "statType": 0, "every": 0.2}))
        for _ in range(3):
            check(await receive(socket), one, up, [down])
        await socket.send(json.dumps({"type": 2, "statType": 0, "every": 0}))

    await refused(403, uri=f"ws://{one}/", origin="http://evil.example")

    async def many(number):
        async with connect(f"ws://{two}/") as socket:
            for _ in range(number):
                check(await ask(socket, {"type": 2, "statType": 0}), two, up, [down])

    await until_up(two, up, [down])
    await asyncio.gather(*(many(10) for _ in range(20)))
    print("well")


asyncio.run(main(*sys.argv[1:]))
