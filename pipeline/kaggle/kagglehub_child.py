"""Fetches one data set with kagglehub, and says in one line what came of it; a program, so that it can be ended.

    python -P -m pipeline.kaggle.kagglehub_child OWNER/SLUG/versions/N MAX_FILE_BYTES

kagglehub asks without a time limit and unpacks whatever it gets; its caller (`attempt.py`) watches and kills. The
first line of the output is `begun`, the last one JSON: `{"path": ...}`, or `{"fault", "status", "retry_after",
"message"}`; `archive_bytes` is how large the archive was when kagglehub removed it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from typing import Any


def main(handle: str, max_file_bytes: int) -> dict[str, Any]:
    """Fetch it; what is returned is what is said."""
    import zipfile

    import kagglehub
    import requests
    from kagglehub.exceptions import DataCorruptionError, KaggleApiHTTPError

    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    try:
        return {"path": kagglehub.dataset_download(handle)}
    except KaggleApiHTTPError as error:
        response = error.response
        return {
            "fault": "status",
            "status": response.status_code if response is not None else None,
            "retry_after": response.headers.get("Retry-After") if response is not None else None,
            "message": str(error),
        }
    except DataCorruptionError:
        return {"fault": "checksum", "message": "the bytes that came have another checksum than Kaggle says"}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        if isinstance(error, requests.JSONDecodeError):
            return {"fault": "connection", "message": str(error)}
        return {"fault": "archive", "message": str(error)}
    except requests.exceptions.ChunkedEncodingError as error:
        return {"fault": "cut off", "message": str(error)}
    except requests.RequestException as error:
        return {"fault": "connection", "message": f"{type(error).__name__}: {error}"}
    except OSError as error:
        return {"fault": "disk", "status": error.errno, "message": str(error)}


def note_removal(event: str, arguments: tuple[Any, ...], sizes: list[int]) -> None:
    """Note an archive's size before it is removed: nothing else tells how many bytes came."""
    if event == "os.remove" and str(arguments[0]).endswith(".archive"):
        with contextlib.suppress(OSError):
            sizes.append(os.stat(arguments[0]).st_size)


if __name__ == "__main__":
    import signal

    from harness import lifeline

    lifeline.hold()
    # A file that grows over the limit is an error to be told, not a signal that ends the program.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    import kagglehub  # noqa: F401  (takes a second: the caller's clock runs from the next line on)

    print("begun", flush=True)
    sizes: list[int] = []
    sys.addaudithook(lambda event, arguments: note_removal(event, arguments, sizes))
    answer = main(sys.argv[1], int(sys.argv[2]))
    print(json.dumps({**answer, "archive_bytes": sizes[-1] if sizes else 0}), flush=True)
