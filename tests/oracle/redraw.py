#!/usr/bin/env python3
"""Draws random populations with consistent_sampler 1.0.10 and with `tallystick audit draw`, and compares.

Usage: redraw.py TALLYSTICK [SEED]

TALLYSTICK is the path of the binary. SEED makes the random populations the same again; a failure prints it.
Needs `pip install consistent_sampler==1.0.10`. Exit code 0: all draws agree. 1: a draw differs. 2: usage, or
the package or the binary is missing.
"""

import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
from hashlib import sha256
from importlib import metadata

PACKAGE, VERSION = "consistent_sampler", "1.0.10"
ROUNDS = 25
UNITS_MAX = 400


def refuse(reason):
    print(f"redraw.py: {reason}", file=sys.stderr)
    sys.exit(2)


def random_population(choose):
    """Unit ids as the product writes them, or any text that a population file may hold, sorted by bytes."""
    count = choose.randint(1, UNITS_MAX)
    if choose.random() < 0.5:
        device = lambda: "d-" + "".join(choose.choices("abcdefghijklmnopqrstuvwxyz234567", k=26))
        day = lambda: f"2026-{choose.randint(1, 12):02}-{choose.randint(1, 28):02}"
        units = {f"{device()}/{day()}/disk-encryption" for _ in range(count)}
    else:
        letters = "abcXYZ019-/ .:'\"\\äß東😀"
        units = {"".join(choose.choices(letters, k=choose.randint(1, 30))) for _ in range(count)}
    return sorted(units, key=str.encode)


def random_seed(choose):
    """78 digits as a plan's draw has them, dice digits, or any text."""
    kind = choose.randrange(3)
    if kind == 0:
        return f"{choose.getrandbits(256):078}"
    if kind == 1:
        return "".join(choose.choices("123456", k=20))
    return "".join(choose.choices("abc XYZ019äß東😀", k=choose.randint(1, 40)))


def drawn_by_rivest_2011(seed, units, n):
    """Ronald Rivest's sampler of 2011 without replacement, from its description: (unit, number of the pick)."""
    picked, pick = {}, 0
    while len(picked) < n:
        pick += 1
        row = int.from_bytes(sha256(f"{seed},{pick}".encode()).digest(), "big") % len(units)
        picked.setdefault(row, pick)
    return [(units[row], str(pick)) for row, pick in picked.items()]


def drawn_by_package(sampler, seed, units, n):
    """The package shows tickets cut to so many digits after their leading nines: all of them, here."""
    tickets = sampler(units, seed, take=n, output="ticket", with_replacement=False, digits=200)
    return [(ticket.id, ticket.ticket_number) for ticket in tickets]


def drawn_by_tallystick(binary, method, seed, units, n):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "population.txt")
        with open(path, "wb") as file:
            file.write("".join(unit + "\n" for unit in units).encode())
        command = [binary, "audit", "draw", "--population", path, f"--seed={seed}", "--n", str(n)]
        command += ["--method", method, "--json"]
        done = subprocess.run(command, capture_output=True, timeout=60)
    if done.returncode != 0:
        return f"exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()}"
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        return f"no JSON ({error}): {done.stdout[:200]!r}"
    return [(drawn["unit"], drawn["ticket"]) for drawn in answer["selected"]]


def main():
    if len(sys.argv) not in (2, 3):
        refuse("usage: redraw.py TALLYSTICK [SEED]")
    binary = sys.argv[1]
    if not os.access(binary, os.X_OK) or not os.path.isfile(binary):
        refuse(f"{binary} is not a program")
    try:
        found = metadata.version(PACKAGE)
        from consistent_sampler import sampler
    except (ImportError, metadata.PackageNotFoundError):
        refuse(f"install {PACKAGE}=={VERSION} first")
    if found != VERSION:
        refuse(f"{PACKAGE} {found} is installed, and {VERSION} is wanted")

    start = sys.argv[2] if len(sys.argv) == 3 else secrets.token_hex(8)
    choose = random.Random(start)
    compared = 0
    for _ in range(ROUNDS):
        units, seed = random_population(choose), random_seed(choose)
        n = choose.randint(1, len(units))
        for method, expected in [
            ("consistent", drawn_by_package(sampler, seed, units, n)),
            ("rivest2011", drawn_by_rivest_2011(seed, units, n)),
        ]:
            ours = drawn_by_tallystick(binary, method, seed, units, n)
            if ours != expected:
                print(f"DIFFERS: {method}, seed {seed!r}, {len(units)} units, n {n}; again with: redraw.py {binary} {start}")
                print(f"  expected {expected}\n  ours     {ours}")
                return 1
            compared += n
    print(f"{2 * ROUNDS} draws, {compared} tickets agree with {PACKAGE} {VERSION} and rivest2011 (seed {start})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
