"""read_sbom.py FILE…: holds bills of materials against the CycloneDX 1.5 schema, by the reader of the CycloneDX project, and prints
`name version sha256` of each component (`-` without a hash). Exit code 1: one does not hold."""

import json
import sys

from cyclonedx.model import HashAlgorithm
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main() -> int:
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            text = file.read()
        problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
        if problem is not None:
            print(f"{name}: {problem}", file=sys.stderr)
            return 1
        bom = Bom.from_json(json.loads(text))
        # Refuses references to components that are not there.
        bom.validate()
        for component in bom.components:
            sums = [one.content for one in component.hashes if one.alg == HashAlgorithm.SHA_256]
            print(component.name, component.version, *(sums or ["-"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
