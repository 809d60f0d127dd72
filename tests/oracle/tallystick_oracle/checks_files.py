"""Checks 1 to 3: files, trust, checkpoint."""

import re

from . import canonical, shapes
from .canonical import Bad
from .log_keys import LogKeys
from .notes import is_note_name, parse_vkey
from .witnesses import Policy
from .signatures import sha256_hex

MANIFEST, NOTE, PROOF, STAMP = "MANIFEST.json", "MANIFEST.note", "export.tlog-proof", "MANIFEST.tsr"
TRUST_BYTES_MAX = 1 << 20
ORIGIN_BYTES_MAX = 256
DOMAIN_BYTES_MAX = 253

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile("%s(\\.%s)*\\Z" % (_LABEL, _LABEL), re.ASCII)
_NAME = "[a-z0-9][a-z0-9-]{0,62}"
_DECIMAL = "(0|[1-9][0-9]{0,19})"
_PATH = re.compile(
    "(VERIFY\\.md|plan\\.json|log/checkpoint|log/consistency/%(d)s|log/anchors/[0-9a-f]{64}"
    "|tombstones/%(d)s\\.tlog-proof|streams/(roster|rules|audit)\\.(jsonl|tlog-proof)"
    "|population/%(n)s\\.txt|draw/%(n)s\\.json|results/%(n)s\\.json|evaluation/%(n)s\\.json"
    "|units/%(n)s/([0-9]{4}|[1-9][0-9]{4})/(unit\\.json|%(d)s\\.(envelope|tlog-proof|json)))\\Z"
    % {"n": _NAME, "d": _DECIMAL},
    re.ASCII,
)


def check_files(run):
    """1: the manifest and exactly its files."""
    folder = run.folder
    run.manifest_bytes = folder.read(MANIFEST)
    manifest = canonical.load(run.manifest_bytes, MANIFEST)
    shapes.manifest(manifest, MANIFEST)
    run.manifest = manifest
    if folder.faults:
        raise Bad(folder.faults[0])
    paths = [row["path"] for row in manifest["files"]]
    shapes.ascending(paths, "MANIFEST.json's list of files")
    for path in paths:
        if not _PATH.match(path):
            raise Bad("MANIFEST.json lists %s, a path that sets do not have" % path)
    expected = set(paths) | {MANIFEST, NOTE, PROOF}
    for path in sorted(expected - set(folder.sizes)):
        raise Bad("%s is missing" % path)
    for path in sorted(set(folder.sizes) - expected - {STAMP}):
        raise Bad("%s is not in the manifest" % path)
    if "VERIFY.md" not in expected:
        raise Bad("VERIFY.md is not in the manifest")
    for row in manifest["files"]:
        data = folder.read(row["path"])
        if len(data) != row["bytes"] or sha256_hex(data) != row["sha256"]:
            raise Bad("%s is not the file of the manifest" % row["path"])
    return "%d files" % len(folder.sizes)


def check_trust(run):
    """2: the trust file, and that the set is of its log."""
    data = run.trust_bytes
    if len(data) > TRUST_BYTES_MAX:
        raise Bad("trust file is larger than %d bytes" % TRUST_BYTES_MAX)
    trust = canonical.load(data[:-1] if data.endswith(b"\n") else data, "trust file")
    shapes.trust(trust, "trust file")
    origin = trust["origin"]
    keys = [parse_vkey(text) for text in trust["log_keys"]]
    if len(set(trust["log_keys"])) != len(keys) or any(key.name != origin for key in keys):
        raise Bad("trust file: log keys are not those of its origin, each once")
    policy = Policy(trust["witness_policy"])
    if policy.logs != keys:
        raise Bad("trust file: the logs of the witness policy are not log_keys, in their order")
    prefix = trust["trust_domain"] + "/log/"
    if not _DOMAIN.match(trust["trust_domain"]) or len(trust["trust_domain"]) > DOMAIN_BYTES_MAX:
        raise Bad("trust file: trust_domain is not a DNS name in lower case")
    named = is_note_name(origin) and len(origin.encode("utf-8")) <= ORIGIN_BYTES_MAX
    if not named or not origin.startswith(prefix) or origin == prefix:
        raise Bad("trust file: origin is not a log of its trust_domain")
    if run.manifest["origin"] != origin:
        raise Bad("the set is of another log than the trust file")
    roster = run.folder.read("streams/roster.jsonl") if run.folder.has("streams/roster.jsonl") else b""
    run.trust, run.log_keys, run.policy, run.origin = trust, LogKeys(keys, roster), policy, origin
    return "%s, made by %s" % (origin, trust["made_by"])


def check_checkpoint(run):
    """3: the set's checkpoint."""
    run.checkpoint_bytes = run.folder.read("log/checkpoint")
    checkpoint, cosigned = run.log_keys.open(run.checkpoint_bytes, run.policy, "log/checkpoint")
    stated = run.manifest["checkpoint"]
    if checkpoint.size != stated["size"] or checkpoint.root.hex() != stated["root"]:
        raise Bad("log/checkpoint is not the manifest's checkpoint")
    run.checkpoint, run.cosigned = checkpoint, cosigned
    return "%d leaves" % checkpoint.size
