"""The licence gate: only what a list of licences allows goes into a training set; what nobody knows is not on it.

    reason = refusal("CC0: Public Domain + MIT", LICENCES)      # None: every licence of it is allowed

Names are those of the sources (Kaggle's, SPDX's); several of one question are joined by " + ". What Kaggle offers is
judged once more before a download, by `pipeline/kaggle/filters.py`.
"""

from __future__ import annotations

from collections.abc import Collection

LICENCES = (
    "Apache-2.0",
    "Apache 2.0",
    "MIT",
    "BSD-3-Clause",
    "CC0-1.0",
    "CC0: Public Domain",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC BY 4.0",
    "CC BY-SA 3.0",
    "CC BY-SA 4.0",
    "Attribution 4.0 International (CC BY 4.0)",
    "Attribution 3.0 Unported (CC BY 3.0)",
    "Attribution 3.0 IGO (CC BY 3.0 IGO)",
    "ODC Attribution License (ODC-By)",
    "ODC Public Domain Dedication and Licence (PDDL)",
    "Database: Open Database, Contents: Database Contents",
    "Database: Open Database, Contents: © Original Authors",
    "Community Data License Agreement - Permissive - Version 1.0",
    "Community Data License Agreement - Sharing - Version 1.0",
    "U.S. Government Works",
    "EU ODP Legal Notice",
    "World Bank Dataset Terms of Use",
)
JOINED = " + "


def refusal(licence: str, allowed: Collection[str] = LICENCES) -> str | None:
    """Why a licence does not pass: a phrase for counting, or None. Case does not matter."""
    known = {name.casefold() for name in allowed}
    barred = sorted({part.strip() for part in licence.split(JOINED) if part.strip().casefold() not in known})
    return f"licence not allowed: {', '.join(name or 'none given' for name in barred)}" if barred else None
