"""The collector asked by grpcio, which shares no line with it: prints how each try ended, as JSON.

Stubs are made from proto/ when this runs. Usage:
    grpc_stranger.py PROTO_DIR FOLDER ENROL AGENTS PEOPLE
FOLDER holds root.pem, agent.pem, agent.key, person.pem, person.key, instance (hex).
"""

import importlib
import json
import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc

# How long a call may take, seconds: a busy machine is no fault.
PATIENCE = 60


def stubs(proto):
    """The modules of submit.proto and people.proto."""
    out = tempfile.mkdtemp(prefix="stubs-")
    files = sorted(str(path.relative_to(proto)) for path in pathlib.Path(proto).rglob("*.proto"))
    code = protoc.main(["protoc", f"-I{proto}", f"--python_out={out}", f"--grpc_python_out={out}", *files])
    if code != 0:
        raise SystemExit(f"grpcio-tools ended with {code}")
    sys.path.insert(0, out)
    load = importlib.import_module
    return [load(f"tallystick.v1.{name}_{part}") for name in ("submit", "people") for part in ("pb2", "pb2_grpc")]


def main():
    proto, folder, enrol, agents, people = sys.argv[1:]
    folder = pathlib.Path(folder)
    submit_pb2, submit_grpc, people_pb2, people_grpc = stubs(proto)

    def channel(address, who):
        read = lambda name: (folder / name).read_bytes()
        own = {} if who is None else {"private_key": read(f"{who}.key"), "certificate_chain": read(f"{who}.pem")}
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(read("root.pem"), **own))

    def ended(call):
        try:
            return {"ok": call()}
        except grpc.RpcError as error:
            return {"code": error.code().name, "details": error.details()}

    def who_am_i(address, who):
        with channel(address, who) as open_channel:
            stub = people_grpc.PeopleStub(open_channel)
            return ended(lambda: stub.WhoAmI(people_pb2.WhoAmIRequest(), timeout=PATIENCE).role)

    def conversation(address, who, items):
        """What a device's stream is answered: the names of the messages."""
        with channel(address, who) as open_channel:
            stub = submit_grpc.IngestStub(open_channel)

            def call():
                messages = (submit_pb2.FromAgent(**item) for item in items)
                answers = []
                for answer in stub.Submit(messages, timeout=PATIENCE):
                    kind = answer.WhichOneof("item")
                    answers.append(kind)
                    if kind == "refused":
                        answers.append(submit_pb2.RefusedReason.Name(answer.refused.reason))
                        break
                return answers

            return ended(call)

    instance = bytes.fromhex((folder / "instance").read_text())
    hello = {"hello": submit_pb2.Hello(instance=instance, anchor_size=0)}
    garbage = {"envelope": b"not an envelope"}
    print(json.dumps({
        "person asks": who_am_i(people, "person"),
        "device greets and sends garbage": conversation(agents, "agent", [hello, garbage]),
        "device does not greet": conversation(agents, "agent", [garbage]),
        "device asks as a person": who_am_i(people, "agent"),
        "person submits as a device": conversation(agents, "person", [hello]),
        "nobody asks": who_am_i(people, None),
        "nobody submits": conversation(agents, None, [hello]),
        "device asks where devices enrol": who_am_i(enrol, "agent"),
    }))


if __name__ == "__main__":
    main()
