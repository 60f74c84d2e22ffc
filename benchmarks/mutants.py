"""Break the program on purpose, once for each known way, and demand that its named test notices.

    python benchmarks/mutants.py [--only NAME] [--list]

Each variant is one small change of the source (tests/broken/variants.py), applied to a copy; a variant that does not
apply any more, and a test that fails on the unbroken program, are failures too. Prints one JSON document; exit 0 when
every variant was caught.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from broken.trial import check_all_apply, copied, tried, unbroken
from broken.variants import VARIANTS


def main() -> int:
    """Try the variants one after another; tell each, then the sum."""
    asked = _asked()
    if asked.list:
        print("\n".join(f"{variant.name}: {variant.test}" for variant in VARIANTS))
        return 0
    check_all_apply()
    chosen = [variant for variant in VARIANTS if asked.only in (None, variant.name)]
    began, found = time.perf_counter(), []
    with copied() as folder:
        found.append(unbroken(folder, chosen))
        print(f"unbroken: {found[0].outcome}", file=sys.stderr, flush=True)
        for variant in chosen:
            found.append(tried(folder, variant))
            print(f"{variant.name}: {found[-1].outcome}", file=sys.stderr, flush=True)
            if found[-1].told:
                print(found[-1].told, file=sys.stderr)
    outcomes = Counter(each.outcome for each in found)
    told = {
        "variants": len(chosen),
        "caught": outcomes["caught"],
        "unbroken": found[0].outcome,
        "not_caught": [f"python benchmarks/mutants.py --only '{each.name}'" for each in found[1:] if each.told],
        "seconds": round(time.perf_counter() - began),
    }
    print(json.dumps(told, indent=1))
    return int(outcomes["caught"] < len(chosen) or found[0].outcome != "passed")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[variant.name for variant in VARIANTS])
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
