"""Tells whether data is sequential: `tools/test_sequential_coherence.py DATA [--family NAME] [--json]`.

DATA is a file or folder of .txt, .md or .jsonl(.gz), or an .npz of sequences. Prose passes; term
hierarchies, lists of facts and shuffled text fail. Exit codes: 0 PASS, 10 MARGINAL, 1 FAIL, 3 bad input.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nextvec.errors import NextvecError
from nextvec.family import Family
from training.coherence import Report, Verdict
from training.coherence_check import check

EXIT_CODES = {Verdict.PASS: 0, Verdict.MARGINAL: 10, Verdict.FAIL: 1}
BAD_INPUT = 3


def main() -> int:
    """Runs the check that the arguments ask for and prints its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="file or folder of text, or an .npz of sequences")
    parser.add_argument("--family", default="mini", help="model family whose encoder reads text")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args()
    try:
        report = check(arguments.data, Family.open(arguments.family), tell=_tell)
    except NextvecError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return BAD_INPUT
    if arguments.json:
        print(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))
    else:
        print_report(report)
    return EXIT_CODES[report.verdict]


def print_report(report: Report) -> None:
    """The report as text, verdict first."""
    print(f"{report.verdict}: {report.chunks:,} chunks of {report.documents:,} documents judged")
    for reason in report.reasons:
        print(f"  {reason}")
    print()
    if profile := report.profile:
        print("mean cosine")
        print(f"  neighbours                 {profile.neighbours:6.3f}")
        print(f"  neighbours, order shuffled {profile.shuffled:6.3f}")
        print(f"  same document, far apart   {profile.far:6.3f}")
        print(f"  other documents            {profile.other_documents:6.3f}")
        print("  by distance " + " ".join(f"{cosine:.2f}" for cosine in profile.by_distance))
        print()
    width = max(len(sign.name) for sign in report.signs)
    print(f"{'sign':{width}}  value  prose           judgement")
    for sign in report.signs:
        print(f"{sign.name:{width}} {sign.value:6.2f}  {sign.prose:14}  {sign.verdict}")
    if report.odd_documents:
        print(f"\nodd documents: {', '.join(report.odd_documents)}")


def _tell(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
