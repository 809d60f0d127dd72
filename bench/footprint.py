#!/usr/bin/env python3
"""What the agent costs the machine it runs on, beside `lynis audit system --quick` in the same run.

A real collector and a real agent on this machine, as root. Each kind of cycle (`once --until-proved`: look, sign, spool,
send, proof) is run --rounds times for its processor time (`wait4`, children included) and once more under strace for its
processes. Then `run` is left alone for --idle-minutes: memory, and how often its threads woke up. `--touch` names the file
that is given its own mode before each cycle "after a change", which sets the time of its last change of state and nothing
else. Standard library only; docs/BENCHMARKS.md has results.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

READY_SECONDS_MAX = 60
# The agent's first exchange after its start is over by then.
SETTLED_SECONDS = 30
# Nothing the agent does by itself at rest comes more rarely, so that no cycle lies in the idle minutes.
INTERVAL_MINUTES = 1440
# A change must lie this long back before an answer may be kept (agent/src/recall/print.rs), with room to spare.
SETTLE_SECONDS = 3


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"footprint: {command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def measured(command):
    """Processor seconds with children, wall seconds, and exit code."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - begun, done.returncode


def traced(command, folder):
    """Processes that a command starts, without itself and threads, and the programs they became."""
    log = folder / "strace"
    calls = "trace=execve,fork,vfork,clone,clone3"
    subprocess.run(["strace", "-f", "-qq", "-e", calls, "-o", log, *map(str, command)],
                   stdin=subprocess.DEVNULL, capture_output=True, check=False)
    processes, programs = 0, []
    for line in log.read_text(errors="replace").splitlines():
        if re.search(r" (fork|vfork|clone|clone3)\(", line) and "CLONE_THREAD" not in line and "= -1" not in line:
            processes += 1
        started = re.search(r' execve\("([^"]+)"', line)
        if started and "= -1" not in line:
            programs.append(os.path.basename(started[1]))
    return processes, programs[1:]


class Installation:
    """A collector that listens, and an agent that is enrolled with it."""

    def __init__(self, folder, collector, agent):
        self.folder, self.agent, self.state = folder, agent, folder / "agent"
        data, key = folder / "collector", folder / "admin.key"
        run([options.tallystick, "key", "new", "--out", key])
        made = json.loads(run([
            collector, "init", "--json", "--accept-rollback-blindness", "--port", "0", "--listen", "127.0.0.1",
            "--trust-domain", "bench.test", "--server-name", "127.0.0.1", "--dir", data, "--admin", f"{key}.pub",
            "--root-key-out", folder / "root.key", "--profile-out", folder / "profile"]))
        self.log = open(folder / "collector.log", "w")
        self.server = subprocess.Popen([collector, "serve", "--dir", data], stderr=self.log, stdout=self.log)
        begun = time.monotonic()
        while not (self.listens(made["enrol"]) and self.listens(made["agents"]) and (data / "admin.sock").exists()):
            if self.server.poll() is not None or time.monotonic() - begun > READY_SECONDS_MAX:
                sys.exit(f"footprint: the collector does not listen: {(folder / 'collector.log').read_text()}")
            time.sleep(0.05)
        token = run([collector, "token", "create", "--class", "laptop", "--group", "bench", "--dir", data, "--key", key])
        (folder / "token").write_text(token)
        run([agent, "enroll", "--server", made["enrol"], "--agents", made["agents"], "--token-file", folder / "token",
             "--state", self.state])
        (self.state / "agent.toml").write_text(f"interval_minutes = {INTERVAL_MINUTES}\n")

    @staticmethod
    def listens(address):
        host, port = address.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), 1).close()
            return True
        except OSError:
            return False

    def cycle(self):
        return [self.agent, "once", "--until-proved", "--state", self.state]

    def stop(self):
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(30)


def fields(path, *names):
    text = pathlib.Path(path).read_text()
    return [int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1]) for name in names]


def wakeups(pid):
    """Times that threads of a process went to sleep by themselves, which is how often they woke up."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return {task.name: fields(task / "status", "voluntary_ctxt_switches")[0] for task in tasks}


def idle(installation, minutes):
    """Memory and wake-ups of `run` with nothing to do."""
    log = open(installation.folder / "run.log", "w")
    agent = subprocess.Popen([installation.agent, "run", "--state", installation.state], stderr=log, stdout=log)
    time.sleep(SETTLED_SECONDS)
    before = wakeups(agent.pid)
    time.sleep(minutes * 60)
    after = wakeups(agent.pid)
    woken = sum(count - before.get(task, 0) for task, count in after.items())
    resident, peak = fields(f"/proc/{agent.pid}/status", "VmRSS", "VmHWM")
    rollup = fields(f"/proc/{agent.pid}/smaps_rollup", "Pss", "Private_Dirty")
    agent.send_signal(signal.SIGTERM)
    agent.wait(30)
    return {"rss_kib": resident, "peak_kib": peak, "pss_kib": rollup[0], "private_dirty_kib": rollup[1],
            "threads": len(after), "wakeups_per_minute": woken / minutes}


def kind(name, installation, before=None):
    """One kind of cycle, ROUNDS times and once under strace; `before` makes it so each time."""
    seconds = []
    for _ in range(options.rounds):
        if before:
            before()
        cpu, _, code = measured(installation.cycle())
        if code != 0:
            sys.exit(f"footprint: {name}: the agent ended with {code}")
        seconds.append(cpu)
    if before:
        before()
    processes, programs = traced(installation.cycle(), installation.folder)
    return {"name": name, "cpu_seconds": seconds, "processes": processes, "programs": programs}


def measure(folder):
    found = {"load_before": os.getloadavg(), "kernel": os.uname().release, "cores": os.cpu_count()}
    found["binary_bytes"] = options.agent.stat().st_size
    installation = Installation(folder, options.collector, options.agent)
    answers = installation.state / "answers"

    def forget():
        answers.unlink(missing_ok=True)

    def touch():
        if options.touch.exists():
            # The same mode again: the system notes the time of it, and nothing else changes.
            os.chmod(options.touch, options.touch.stat().st_mode & 0o7777)
            time.sleep(SETTLE_SECONDS)

    cycles = [kind("first", installation, forget)]
    run(installation.cycle())
    cycles.append(kind("nothing changed", installation))
    cycles.append(kind("after a change", installation, touch))
    found["cycles"] = cycles
    found["package_manager_cpu_seconds"] = [
        sum(measured(command)[0] for command in (["apt-get", "-s", "dist-upgrade"], ["apt", "list", "--upgradable"]))
        for _ in range(options.rounds)] if shutil.which("apt-get") else []
    found["idle"] = idle(installation, options.idle_minutes)
    installation.stop()
    if shutil.which("lynis") and not options.without_lynis:
        lynis = ["lynis", "audit", "system", "--quick", "--no-colors", "--quiet", "--logfile", folder / "lynis.log",
                 "--report-file", folder / "lynis.dat"]
        cpu, wall, _ = measured(lynis)
        processes, programs = traced(lynis, folder)
        found["lynis"] = {"cpu_seconds": cpu, "wall_seconds": wall, "processes": processes, "programs": len(programs)}
    found["load_after"] = os.getloadavg()
    return found


def table(found):
    spread = lambda values: f"{statistics.median(values):8.3f} ({min(values):.3f} to {max(values):.3f})"
    lines = [f"{found['cores']} cores, Linux {found['kernel']}, load {found['load_before']} to {found['load_after']}",
             f"binary: {found['binary_bytes']} bytes"]
    for cycle in found["cycles"]:
        lines.append(f"cycle, {cycle['name']:16} CPU s {spread(cycle['cpu_seconds'])}, {cycle['processes']} processes: "
                     + " ".join(cycle["programs"]))
    if found["package_manager_cpu_seconds"]:
        lines.append(f"apt by itself           CPU s {spread(found['package_manager_cpu_seconds'])}")
    rest = found["idle"]
    lines.append(f"idle: {rest['rss_kib']} KiB resident, most {rest['peak_kib']}, share {rest['pss_kib']}, private dirty "
                 f"{rest['private_dirty_kib']}; {rest['threads']} threads, {rest['wakeups_per_minute']:.1f} wake-ups a minute")
    if "lynis" in found:
        lynis = found["lynis"]
        lines.append(f"lynis: CPU {lynis['cpu_seconds']:.1f} s, wall {lynis['wall_seconds']:.1f} s, {lynis['processes']} "
                     f"processes, {lynis['programs']} programs")
    return "\n".join(lines)


if __name__ == "__main__":
    release = pathlib.Path(__file__).resolve().parent.parent / "target" / "release"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", type=pathlib.Path, default=release / "tallystick-agent")
    parser.add_argument("--collector", type=pathlib.Path, default=release / "tallystick-collector")
    parser.add_argument("--tallystick", type=pathlib.Path, default=release / "tallystick")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle-minutes", type=float, default=5)
    parser.add_argument("--touch", type=pathlib.Path, default=pathlib.Path("/var/lib/dpkg/status"))
    parser.add_argument("--without-lynis", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("footprint: root is needed, as for the service")
    with tempfile.TemporaryDirectory() as name:
        found = measure(pathlib.Path(name))
    print(json.dumps(found, indent=2) if options.json else table(found))
